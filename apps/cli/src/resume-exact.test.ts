// A run that loses its process and its power at any point, and goes on with --resume, ends with the bytes of one that never stopped.
import { nodeFiles } from "@tunesmith/node";
import { FaultDisk, Killed } from "@tunesmith/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../../../tests/support/device.ts";
import { modelFolder } from "../../../tests/support/model-folder.ts";
import { runOutcome } from "../../../tests/support/run-outcome.ts";
import { watchPrograms } from "../../../tests/support/watch-programs.ts";
import { checkConfig, type LoadedConfig } from "./config/load.ts";
import { readConfigSource } from "./config/source.ts";
import { trainRun } from "./train-run.ts";

const ROWS = Array.from({ length: 15 }, (_, i) =>
  JSON.stringify({ prompt: `Q${i}:`, completion: "ok".repeat(1 + (i % 3)) }),
);
const RUN = "/run";
/** 12 rows train, 4 a step: an epoch is three steps; 3 are scored in two batches */
const CONFIG = `model: /model
output: ${RUN}
data: {train: [{path: /d.jsonl}], eval_split: 0.2}
tune: {r: 2, target_modules: [q_proj, down_proj], layers_to_transform: [1]}
train: {batch_size: 2, grad_accumulation: 2, max_steps: 7, learning_rate: 0.01, memory_budget: 1GiB}
eval: {every: 4}
checkpoint: {every: 2, keep: 9}
`;

/** What a run is about to do. */
interface Moment {
  /** updates that were submitted */
  readonly updates: number;
  /** micro-batches of the step that is being made */
  readonly microBatches: number;
  /** batches that were scored */
  readonly scored: number;
  readonly program?: string;
  readonly operation?: { readonly call: string; readonly path: string };
}

const STOPS: Readonly<Record<string, (now: Moment) => boolean>> = {
  "mid-accumulation": ({ program, updates, microBatches }) =>
    program?.startsWith("micro-batch") === true && updates === 4 && microBatches === 1,
  step: ({ program, updates }) => program === "update" && updates === 4,
  "epoch edge": ({ program, updates, microBatches }) =>
    program?.startsWith("micro-batch") === true && updates === 6 && microBatches === 0,
  "in eval": ({ program, updates, scored }) => program?.startsWith("score") === true && updates === 4 && scored > 0,
  "in save": ({ operation }) => operation?.call === "rename" && operation.path.endsWith("step-4/manifest.json"),
  last: ({ operation }) => operation?.call === "rename" && operation.path.startsWith(`${RUN}/adapter/`),
};

function startDisk(): FaultDisk {
  const files = { ...modelFolder("/model", { weights: true }), "/d.jsonl": ROWS.join("\n") };
  return new FaultDisk(
    Object.entries(files).map(([path, content]) => [
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    ]),
  );
}

/** @returns true where the run came to its end */
async function run(
  disk: FaultDisk,
  loaded: LoadedConfig,
  { resume = false, kill }: { resume?: boolean; kill?: (now: Moment) => boolean },
): Promise<boolean> {
  const device = await testDevice();
  let [updates, microBatches, scored] = [0, 0, 0];
  const about = (what: Pick<Moment, "program" | "operation">): void => {
    if (kill?.({ updates, microBatches, scored, ...what })) disk.kill();
  };
  const unwatch = watchPrograms(device, (program) => {
    about({ program });
    if (disk.dead) throw new Killed();
    if (program.startsWith("micro-batch")) microBatches++;
    if (program.startsWith("score")) scored++;
    if (program === "update") [updates, microBatches, scored] = [updates + 1, 0, 0];
  });
  disk.watch = (operation) => about({ operation });
  try {
    await trainRun(loaded, {
      overwrite: false,
      resume,
      device,
      files: nodeFiles(disk),
      context: {
        cwd: "/",
        env: {},
        signal: new AbortController().signal,
        device: { debug: false },
        say: () => {},
        onEnd: () => {},
      },
    });
    return true;
  } catch (error) {
    if (error instanceof Killed) return false;
    throw error;
  } finally {
    unwatch();
    disk.watch = undefined;
  }
}

function outcome(disk: FaultDisk): Record<string, unknown> {
  const paths = disk.paths.filter((path) => path.startsWith(`${RUN}/`));
  return runOutcome(new Map(paths.map((path) => [path.slice(RUN.length + 1), disk.bytes(path)!])));
}

const settings = [true, false].flatMap((packing) =>
  [0, 0.2].flatMap((dropout) => [true, false].map((shuffle) => ({ packing, dropout, shuffle }))),
);

describe.each(settings)("packing $packing, dropout $dropout, shuffle $shuffle", ({ packing, dropout, shuffle }) => {
  const sets = [`data.packing=${packing}`, `tune.dropout=${dropout}`, `data.shuffle=${shuffle}`];
  const loaded = checkConfig(readConfigSource(CONFIG, { path: "run.yaml", sets }), "/");
  let whole: Record<string, unknown>;
  beforeAll(async () => {
    const disk = startDisk();
    await run(disk, loaded, {});
    whole = outcome(disk);
  });

  test.each(Object.keys(STOPS))("stopped %s", async (stop) => {
    const disk = startDisk();
    expect(await run(disk, loaded, { kill: STOPS[stop]! })).toBe(false);
    const left = disk.crashed("power");
    expect(await run(left, loaded, { resume: true })).toBe(true);
    expect(outcome(left)).toEqual(whole);
  });
});
