// Every file operation of a save, failing in every way: a later run finds the checkpoint before it or the new one, whole.
import { createHash } from "node:crypto";
import { type NodeFiles, nodeFiles } from "@tunesmith/node";
import { CRASHES, FaultDisk, FAULTS, type Fault } from "@tunesmith/testing";
import { loadModel, type Model } from "@tunesmith/models";
import { tuneLora } from "@tunesmith/sft";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../../../tests/support/device.ts";
import { modelFolder } from "../../../tests/support/model-folder.ts";
import { Checkpoints, findCheckpoint, removeLater } from "./checkpoints.ts";
import { createRunFolder, type RunFolder } from "./run-folder.ts";
import { checkpointBytes } from "./room.ts";

const CONFIG = { r: 2, alpha: 4, useRslora: false, targetModules: ["q_proj"], layersToTransform: [0] };
const RUN = "/disk/run";

/** A run folder that is being worked in. */
interface Run {
  readonly disk: FaultDisk;
  readonly files: NodeFiles;
  readonly folder: RunFolder;
  readonly checkpoints: Checkpoints;
}

let model: Model;
let tuning: ReturnType<typeof tuneLora>;
let bytes: number;
/** after the checkpoint of step 2, which is the best so far */
let before: FaultDisk;
/** path → hash of a checkpoint's files, by step */
const whole = new Map<number, Record<string, string>>();

beforeAll(async () => {
  const device = await testDevice();
  const texts = Object.entries(modelFolder("/model", { weights: true }));
  const encoded = texts.map(([path, content]): [string, Uint8Array] => [
    path,
    typeof content === "string" ? new TextEncoder().encode(content) : content,
  ]);
  const disk = new FaultDisk(encoded);
  model = await loadModel(device, nodeFiles(disk), "/model");
  tuning = tuneLora(model, CONFIG, { seed: 1 });
  bytes = await checkpointBytes(nodeFiles(disk), "/model", tuning);
  const run = await open(disk);
  await work(run, 2);
  await run.folder.close();
  before = disk.crashed("process");
  whole.set(2, hashes(before, 2));
  const next = await open(before.crashed("process"), 2);
  await work(next, 4);
  whole.set(4, hashes(next.disk, 4));
});
afterAll(() => {
  tuning.store.dispose();
  model.dispose();
});

async function open(disk: FaultDisk, from?: number): Promise<Run> {
  const files = nodeFiles(disk);
  const state = from === undefined ? undefined : (await findCheckpoint(files, RUN, () => {})).state;
  const folder = await createRunFolder(RUN, {
    files,
    model: "/model",
    templates: undefined,
    resumeAt: state?.metrics_bytes,
  });
  if (state) await removeLater(files, folder, state);
  const checkpoints = new Checkpoints(folder, files, {
    bytes,
    keep: 1,
    identity: {},
    decisions: () => ({
      train: { micro_batch_size: 1, recompute: "none", cross_entropy_rows: 64 },
      kernel_choices: {},
    }),
  });
  return { disk, files, folder, checkpoints };
}

/** What a run does around a step that is evaluated, found the best, and saved. */
async function work({ folder, checkpoints }: Run, step: number): Promise<void> {
  for (const name of tuning.store.names)
    for (const part of ["values", "m", "v"] as const)
      tuning.store.write(name, part, new Float32Array(tuning.store.parameter(name).values.size).fill(step));
  await folder.log({ step });
  const best = { step, eval_loss: 1 / step };
  await checkpoints.saveBest(best, tuning);
  await checkpoints.save(step, tuning, { best, worse: 0, last: step });
}

function hashes(disk: FaultDisk, step: number): Record<string, string> {
  const at = `${RUN}/checkpoints/step-${step}/`;
  return Object.fromEntries(
    disk.paths
      .filter((path) => path.startsWith(at))
      .map((path) => [path, createHash("sha256").update(disk.bytes(path)!).digest("hex")]),
  );
}

/** What a new process finds: a whole checkpoint with its log, and a best one that is there. */
async function expectUsable(disk: FaultDisk, about: string): Promise<number> {
  const { state } = await findCheckpoint(nodeFiles(disk), RUN, () => {});
  expect(hashes(disk, state.step), about).toEqual(whole.get(state.step));
  const log = disk.bytes(`${RUN}/metrics.jsonl`)!.subarray(0, state.metrics_bytes);
  expect(new TextDecoder().decode(log).trimEnd().split("\n"), about).toHaveLength(state.step / 2);
  const best = JSON.parse(new TextDecoder().decode(disk.bytes(`${RUN}/best.json`))) as { path: string; step: number };
  expect(disk.bytes(`${RUN}/${best.path}/adapter/adapter_model.safetensors`), about).toBeDefined();
  expect(
    disk.bytes(`${RUN}/checkpoints/step-${state.evaluation.best!.step}/adapter/adapter_model.safetensors`),
    about,
  ).toBeDefined();
  return state.step;
}

/** Files that no checkpoint, log or pointer of the run needs, and the next rotation does not remove. */
function litter(disk: FaultDisk): string[] {
  const best = JSON.parse(new TextDecoder().decode(disk.bytes(`${RUN}/best.json`))) as { path: string };
  const sealed = (folder: string): boolean => disk.bytes(`${folder}/manifest.json`) !== undefined;
  return disk.paths.filter((path) => {
    if (path.endsWith(".tmp")) return true;
    const folder = /^(.*\/checkpoints\/step-\d+)\//.exec(path)?.[1];
    if (folder === undefined || sealed(folder)) return false;
    if (folder.endsWith("step-2") && sealed(`${RUN}/checkpoints/step-4`)) return false;
    return !(path.startsWith(`${RUN}/${best.path}/`) && path.includes("/adapter/"));
  });
}

async function operationsOfSave(): Promise<number> {
  const run = await open(before.crashed("process"), 2);
  const first = run.disk.operations.length;
  await work(run, 4);
  return run.disk.operations.length - first;
}

describe.each(FAULTS)("%s", (fault: Fault) => {
  test("at every operation of a save leaves the checkpoint before it, or the new one", async () => {
    const count = await operationsOfSave();
    const found = { 2: 0, 4: 0 };
    const killed = fault.startsWith("killed");
    for (let n = 0; n < count; n++) {
      const run = await open(before.crashed("process"), 2);
      const first = run.disk.operations.length;
      run.disk.arm(fault, n);
      const error: unknown = await work(run, 4).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      const { call, path } = run.disk.operations[first + n]!;
      const about = `${fault} at operation ${n}, ${call} ${path}`;
      if (killed) {
        for (const crash of CRASHES) {
          const left = run.disk.crashed(crash, n + 1);
          const step = await expectUsable(left, `${about}, ${crash}`);
          found[step as 2 | 4]++;
          await open(left, step);
          expect(litter(left), `${about}, ${crash}, gone on with`).toEqual([]);
        }
        continue;
      }
      for (const crash of ["process", "power"] as const)
        found[(await expectUsable(run.disk.crashed(crash), `${about}, ${crash}`)) as 2 | 4]++;
      if (error === undefined) {
        expect(await expectUsable(run.disk, about), about).toBe(4);
        continue;
      }
      if (fault === "short write") throw error;
      expect(litter(run.disk), about).toEqual([]);
      if (fault === "ENOSPC")
        expect(error, about).toMatchObject({ code: "DISK_FULL", message: expect.stringMatching(/\d+ bytes/) });
    }
    expect(found[2] + found[4]).toBe(count * (killed ? CRASHES.length : 2));
    if (fault !== "short write") expect(found[2]).toBeGreaterThan(0);
    expect(found[4]).toBeGreaterThan(0);
  });
});

test("where there is no room, nothing is written, and the bytes that are needed are said", async () => {
  const written = before.paths.filter((path) => path.startsWith(`${RUN}/checkpoints/step-2/`));
  const size = written.reduce((sum, path) => sum + before.bytes(path)!.length, 0);
  expect(bytes).toBeGreaterThanOrEqual(size);
  const run = await open(before.crashed("process"), 2);
  run.disk.free = bytes - 1;
  await expect(work(run, 4)).rejects.toMatchObject({
    code: "DISK_FULL",
    message: expect.stringContaining(`${bytes} bytes`),
    details: { expected: `${bytes} bytes free`, received: `${bytes - 1} bytes free` },
  });
  expect(await expectUsable(run.disk, "no room")).toBe(2);
  expect(litter(run.disk)).toEqual([]);
  run.disk.free = bytes;
  await work(await open(run.disk, 2), 4);
  expect(await expectUsable(run.disk, "room")).toBe(4);
});
