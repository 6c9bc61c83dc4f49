// A whole training run in process: on a disk in memory, on the shared device, and with a look at every program it submits and
// every file it touches. Twelve rows train, four a step, so an epoch is three steps; three are scored in two batches.
import { nodeFiles } from "@tunesmith/node";
import { FaultDisk, Killed } from "@tunesmith/testing";
import { checkConfig, type LoadedConfig } from "../../apps/cli/src/config/load.ts";
import { readConfigSource } from "../../apps/cli/src/config/source.ts";
import type { TrainDocument } from "../../apps/cli/src/run-finish.ts";
import { trainRun } from "../../apps/cli/src/train-run.ts";
import type { Device } from "@tunesmith/tensor";
import { testDevice } from "./device.ts";
import { modelFolder } from "./model-folder.ts";
import { runOutcome } from "./run-outcome.ts";
import { watchPrograms } from "./watch-programs.ts";

/** where the run is */
export const RUN = "/run";
const ROWS = Array.from({ length: 15 }, (_, i) =>
  JSON.stringify({ prompt: `Q${i}:`, completion: "ok".repeat(1 + (i % 3)) }),
);
const CONFIG = `model: /model
output: ${RUN}
data: {train: [{path: /d.jsonl}], eval_split: 0.2}
tune: {r: 2, target_modules: [q_proj, down_proj], layers_to_transform: [1]}
train: {batch_size: 2, grad_accumulation: 2, max_steps: 7, learning_rate: 0.01, memory_budget: 1GiB}
eval: {every: 4}
checkpoint: {every: 2, keep: 9}
`;

export function runConfig(sets: readonly string[] = []): LoadedConfig {
  return checkConfig(readConfigSource(CONFIG, { path: "run.yaml", sets }), "/");
}

/** What a run is about to do, counted from its start. */
export interface Moment {
  /** updates that were submitted */
  readonly updates: number;
  /** micro-batches of the step that is being made */
  readonly microBatches: number;
  /** batches scored since the last update */
  readonly scored: number;
  readonly program?: string;
  readonly operation?: { readonly call: string; readonly path: string };
}

/** A disk with a model and data. */
export function startDisk(): FaultDisk {
  const files = { ...modelFolder("/model", { weights: true }), "/d.jsonl": ROWS.join("\n") };
  return new FaultDisk(
    Object.entries(files).map(([path, content]) => [
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    ]),
  );
}

/**
 * @param options.before - is told of every moment, and may kill the disk, or abort the signal
 * @returns the run's document; undefined where it was killed
 * @throws what the run throws
 */
export async function runInMemory(
  disk: FaultDisk,
  loaded: LoadedConfig,
  options: {
    resume?: boolean;
    before?: (now: Moment) => void;
    signal?: AbortSignal;
    device?: Device;
    say?: (line: string) => void;
  } = {},
): Promise<TrainDocument | undefined> {
  const { resume = false, before, signal = new AbortController().signal, say = () => {} } = options;
  const device = options.device ?? (await testDevice());
  let [updates, microBatches, scored] = [0, 0, 0];
  const about = (what: Pick<Moment, "program" | "operation">): void =>
    before?.({ updates, microBatches, scored, ...what });
  const unwatch = watchPrograms(device, (program) => {
    about({ program });
    if (disk.dead) throw new Killed();
    if (program.startsWith("micro-batch")) microBatches++;
    if (program.startsWith("score")) scored++;
    if (program === "update") [updates, microBatches, scored] = [updates + 1, 0, 0];
  });
  disk.watch = (operation) => about({ operation });
  try {
    return await trainRun(loaded, {
      overwrite: false,
      resume,
      device,
      reopen: () => testDevice(),
      files: nodeFiles(disk),
      context: { cwd: "/", env: {}, signal, device: { debug: false }, say, onEnd: () => {} },
    });
  } catch (error) {
    if (error instanceof Killed) return undefined;
    throw error;
  } finally {
    unwatch();
    disk.watch = undefined;
  }
}

/** What the run left, as `runOutcome` compares it. */
export function outcomeOn(disk: FaultDisk): Record<string, unknown> {
  const paths = disk.paths.filter((path) => path.startsWith(`${RUN}/`));
  return runOutcome(new Map(paths.map((path) => [path.slice(RUN.length + 1), disk.bytes(path)!])));
}
