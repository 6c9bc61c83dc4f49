// A whole run (training, evaluation, updates, saving) takes the bytes that its plan says, and the way it is cut to fit a
// budget changes no loss.
import { tmpdir } from "node:os";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import {
  linearPaths,
  loadModel,
  planModel,
  readModelConfig,
  readModelFormats,
  writeTrainedModel,
} from "@tunesmith/models";
import type { LoadOptions, Model } from "@tunesmith/models";
import { fourBitCodec, loraShapes, writePeft } from "@tunesmith/lora";
import { nodeFiles, openDevice } from "@tunesmith/node";
import { adamw } from "@tunesmith/optim";
import { chooseMemory, planRun, runShape, train, tuneLora, tuneWeights } from "@tunesmith/sft";
import type { MemoryRequest, StepEvent, StepMemory, TrainOptions, Tuning } from "@tunesmith/sft";
import type { Device, MemoryPlan } from "@tunesmith/tensor";
import { virtualDevice } from "@tunesmith/tensor";
import { describe, expect, test } from "vitest";
import { countBytes } from "./support/count-bytes.ts";
import { testDevice } from "./support/device.ts";
import { goldenPath, maxError } from "./support/goldens.ts";

const FOLDER = goldenPath("models", "llama-untied");
const CONFIG = { r: 4, alpha: 8, useRslora: false, targetModules: "all-linear" };
const UNFREEZE = { full: undefined, freeze: ["model.layers.1", "lm_head"] };
const OPTIMIZER = adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, maxGradNorm: 1 });

/** Rows of 20 to 52 tokens, half of them targets. */
const examples = Array.from({ length: 12 }, (_, row) => {
  const length = 20 + ((row * 7) % 33);
  const inputIds = Int32Array.from({ length }, (_, t) => (row * 31 + t * 17) % 300);
  const targets = Int32Array.from({ length }, (_, t) => (t % 2 === 0 && t + 1 < length ? inputIds[t + 1]! : -100));
  const targetWeights = Float32Array.from(targets, (t) => (t === -100 ? 0 : 1));
  return { inputIds, targets, targetWeights, task: "a", row };
});
/** Three steps of two micro-batches of four examples, cut as asked. */
const schedule = {
  totalSteps: 3,
  stepsPerEpoch: 3,
  epochAt: () => 0,
  window: (step: number, size = 4): number[][] =>
    [0, 4].flatMap((from) =>
      Array.from({ length: Math.ceil(4 / size) }, (_, i) =>
        Array.from({ length: Math.min(size, 4 - i * size) }, (_, k) => (step * 8 + from + i * size + k) % 12),
      ),
    ),
};
const evaluation = { examples: examples.slice(0, 5), every: 2, batchSize: 2 };
const sampling = {
  prompts: [Int32Array.of(5, 6, 7), Int32Array.of(8)],
  maxNewTokens: 9,
  temperature: 0,
  topK: 0,
  topP: 1,
  repetitionPenalty: 1,
  seed: 0,
  stopIds: [],
  at: (step: number) => step === 1,
};

const replay = {
  examples: examples.slice(2, 9),
  schedule: { ...schedule, window: () => [[0, 1], [5]] },
  strength: 0.1,
};
const terms = { labelSmoothing: 0.1, zLoss: 1e-4, noise: { alpha: 5, seed: 1 }, l2ToStart: 0.1 };

function options(memory: StepMemory): TrainOptions {
  return {
    examples,
    tasks: [{ name: "a", lossWeight: 1 }],
    schedule,
    packing: true,
    objective: "token_mean",
    optimizer: OPTIMIZER,
    learningRate: () => 1e-3,
    evaluation,
    memory,
    now: () => performance.now(),
  };
}

const plain = fourBitCodec();
/** what trains: an adapter, or weights of the model */
type Method = "plain" | "nf4" | "full" | "freeze";
const nf4 = fourBitCodec({ quantize: { type: "nf4", doubleQuant: true, blockSize: 64 } });

async function planned(like: Device, method: Method = "plain"): Promise<Tuning> {
  const device = virtualDevice(like.facts);
  const codec = method === "nf4" ? nf4 : plain;
  const { config, ...formats } = await readModelFormats(nodeFiles(), FOLDER, codec);
  const load = (place: Pick<LoadOptions, "place">): Promise<Model> =>
    planModel(device, config, { ...formats, codec, positions: 128, ...place });
  if (method === "plain" || method === "nf4") return tuneLora(await load({}), CONFIG, { seed: 0 });
  return tuneWeights(device, config, load, { unfreeze: UNFREEZE[method] });
}

async function planFor(
  like: Device,
  memory: StepMemory,
  method: Method,
  { sampling: sampled, replay, terms = {} }: Partial<TrainOptions>,
): Promise<MemoryPlan> {
  const shape = runShape({ ...options(memory), ...memory, scored: [evaluation], sampled, replay });
  const tuning = await planned(like, method);
  if (terms.l2ToStart !== undefined) tuning.store.keepStart();
  return planRun(tuning, { optimizer: OPTIMIZER, shape, memory, terms });
}

interface Run {
  readonly steps: StepEvent[];
  readonly evals: number[];
  readonly values: Map<string, Float32Array>;
}

async function loaded(device: Device, method: Method): Promise<Tuning> {
  const codec = method === "nf4" ? nf4 : plain;
  const load = (place: Pick<LoadOptions, "place">): Promise<Model> =>
    loadModel(device, nodeFiles(), FOLDER, { positions: 128, codec, ...place });
  if (method === "full" || method === "freeze")
    return tuneWeights(device, await readModelConfig(nodeFiles(), FOLDER), load, { unfreeze: UNFREEZE[method] });
  const model = await load({});
  const tuned = tuneLora(model, CONFIG, { seed: 3 });
  for (const [name, shape] of loraShapes(CONFIG, [...tuned.adapter.modules.keys()], linearPaths(model.config)))
    if (name.includes("lora_B"))
      tuned.store.write(
        name,
        "values",
        Float32Array.from({ length: shape[0]! * shape[1]! }, (_, i) => 0.1 * Math.sin(i)),
      );
  return tuned;
}

async function save({ adapter, store }: Tuning): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "tunesmith-plan-"));
  const names = new Set(store.names);
  const trained = { has: (name: string) => names.has(name), read: (name: string) => store.read(name, "values") };
  if (adapter) await writePeft(nodeFiles(), folder, adapter, FOLDER);
  else await writeTrainedModel(nodeFiles(), FOLDER, folder, trained);
}

async function run(
  device: Device,
  memory: StepMemory,
  trained?: () => void,
  method: Method = "plain",
  change: Partial<TrainOptions> = {},
): Promise<Run> {
  const tuned = await loaded(device, method);
  if (change.terms?.l2ToStart !== undefined) tuned.store.keepStart();
  device.trim(); // what quantizing needed
  const steps: StepEvent[] = [];
  const evals: number[] = [];
  try {
    for await (const event of train(tuned, { ...options(memory), ...change }))
      if (event.type === "step") steps.push(event);
      else if (event.type === "eval") {
        evals.push(event.result.loss);
        if (trained) await save(tuned);
      }
    trained?.(); // reading the values below is no part of a run
    return { steps, evals, values: await tuned.store.readAll("values") };
  } finally {
    tuned.store.dispose();
    tuned.model.dispose();
  }
}

describe("a whole run takes the bytes of its plan", () => {
  test.each<[StepMemory, Method, Partial<TrainOptions>]>([
    [{}, "plain", {}],
    [{ recompute: "layer", microBatchSize: 3 }, "nf4", {}],
    [{}, "full", {}],
    [{ recompute: "layer", microBatchSize: 3 }, "freeze", {}],
    [{}, "plain", { sampling }],
    [{ microBatchSize: 3, chunkRows: 64 }, "plain", { replay, terms }],
  ])("%j, %s, %j", async (memory, method, change) => {
    const device = await openDevice({ validate: true });
    const plan = await planFor(device, memory, method, change);
    const count = countBytes(device);
    let peak = 0;
    await run(device, memory, () => (peak = count.peak), method, change);
    expect(peak).toBe(plan.peakBytes);
    expect(Object.values(plan.categories).reduce((a, b) => a + b, 0)).toBe(plan.peakBytes);
    // what is left is what programs share
    const { activations, workspace } = plan.categories;
    expect(device.workspace.bytes).toBe(activations + workspace);
    device.workspace.release();
    device.trim();
    expect(count.live).toBe(0);
    device.destroy();
  });
});

describe("fitting a budget", () => {
  const request = async (change: Partial<MemoryRequest>): Promise<MemoryRequest> => {
    const tuning = await planned(await testDevice());
    return {
      tuning,
      optimizer: OPTIMIZER,
      shape: (microBatchSize) => runShape({ ...options({}), microBatchSize, scored: [evaluation] }),
      batchSize: 4,
      budget: Infinity,
      ...change,
    };
  };

  test("takes the fastest way that fits, and says why", async () => {
    const free = chooseMemory(await request({}));
    expect(free).toMatchObject({ microBatchSize: 4, recompute: "none" });
    expect(free.reason).toContain("no budget is set");

    const tight = chooseMemory(await request({ budget: free.plan.peakBytes - 1 }));
    expect(tight.plan.peakBytes).toBeLessThan(free.plan.peakBytes);
    expect(tight.reason).toContain("the fastest way that fits");

    const layers = chooseMemory(await request({ fixed: { recompute: "layer" }, budget: free.plan.peakBytes }));
    expect(layers.recompute).toBe("layer");
    expect(layers.plan.categories.activations).toBeLessThan(free.plan.categories.activations / 3);
  });

  test("what fits nowhere is an error with the smallest plan and what to change", async () => {
    const small = chooseMemory(await request({ fixed: { microBatchSize: 1, recompute: "layer", chunkRows: 64 } })).plan
      .peakBytes;
    expect(chooseMemory(await request({ budget: small })).plan.peakBytes).toBeLessThanOrEqual(small);
    const asked = await request({ budget: small - 1 });
    expect(() => chooseMemory(asked)).toThrow(
      expect.objectContaining({
        code: "MEMORY_BUDGET",
        details: expect.objectContaining({
          received: `${small} bytes`,
          fix: expect.stringMatching(/^raise the budget to .*, or lower data.max_length$/),
        }) as unknown,
      }),
    );
    const fixed = await request({ budget: small - 1, fixed: { microBatchSize: 4, recompute: "none" } });
    expect(() => chooseMemory(fixed)).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({
          fix: expect.stringMatching(/^leave train.micro_batch_size to auto, or leave train.recompute to auto/),
        }) as unknown,
      }),
    );
  });

  test("no choice changes a loss, a gradient norm or the adapter", async () => {
    const device = await testDevice();
    const whole = await run(device, {});
    expect(whole.steps[0]!.grad_norm).toBeGreaterThan(0.01);
    for (const memory of [
      { recompute: "layer" },
      { microBatchSize: 1 },
      { microBatchSize: 3, recompute: "layer", chunkRows: 64 },
    ] as const) {
      const other = await run(device, memory);
      for (const [i, step] of whole.steps.entries()) {
        expect(Math.abs(step.loss - other.steps[i]!.loss)).toBeLessThan(1e-5);
        expect(other.steps[i]!.grad_norm / step.grad_norm).toBeCloseTo(1, 4);
      }
      for (const [i, loss] of whole.evals.entries()) expect(Math.abs(loss - other.evals[i]!)).toBeLessThan(1e-5);
      for (const [name, values] of whole.values) expect(maxError(values, other.values.get(name)!)).toBeLessThan(1e-4);
      // checkpointing alone keeps every bit
      if (!("microBatchSize" in memory)) expect(other.values).toEqual(whole.values);
    }
  });
});
