// How a step is cut changes nothing but the order of sums: 8 rows at once, two times 4 and eight times 1, packed end to end or
// padded, with dropout, over the smaller window that ends an epoch, for an adapter and for all weights.
import { createSchedule } from "@tunesmith/data";
import type { Objective } from "@tunesmith/data";
import { linearPaths, loadModel, readModelConfig } from "@tunesmith/models";
import type { Model } from "@tunesmith/models";
import { loraShapes } from "@tunesmith/lora";
import { nodeFiles } from "@tunesmith/node";
import { adamw } from "@tunesmith/optim";
import { train, tuneLora, tuneWeights } from "@tunesmith/sft";
import type { StepEvent, Tuning } from "@tunesmith/sft";
import type { Device } from "@tunesmith/tensor";
import { beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "./support/device.ts";
import { goldenPath, maxError } from "./support/goldens.ts";

const STEPS = 20;
/** Windows of 8, 8 and 5 rows an epoch. */
const ROWS = 21;
const FOLDER = goldenPath("models", "qwen2-tied"); // with biases
const LORA = { r: 4, alpha: 8, useRslora: false, targetModules: ["q_proj", "v_proj", "down_proj"] };

/** Rows of 4 to 16 tokens; answers of one token in task a, of almost the whole row in task b. */
const examples = Array.from({ length: ROWS }, (_, row) => {
  const length = 4 + ((row * 7) % 13);
  const answer = row % 2 === 0 ? 1 : length - 2;
  const inputIds = Int32Array.from({ length }, (_, t) => (row * 31 + t * 17) % 300);
  const targets = Int32Array.from(inputIds, (_, t) =>
    t >= length - 1 - answer && t + 1 < length ? inputIds[t + 1]! : -100,
  );
  const targetWeights = Float32Array.from(targets, (t) => Number(t !== -100));
  return { inputIds, targets, targetWeights, task: row % 2 === 0 ? "a" : "b", row };
});

let device: Device;
beforeAll(async () => {
  device = await testDevice();
});

type Method = "lora with dropout" | "full";

async function tuned(method: Method): Promise<Tuning> {
  const load = (placed: object): Promise<Model> => loadModel(device, nodeFiles(), FOLDER, placed);
  if (method === "full") return tuneWeights(device, await readModelConfig(nodeFiles(), FOLDER), load);
  const tuning = tuneLora(await load({}), { ...LORA, dropout: 0.3 }, { seed: 3 });
  // B starts at zero; with values A learns from the first step
  for (const [name, shape] of loraShapes(LORA, [...tuning.adapter.modules.keys()], linearPaths(tuning.model.config)))
    if (name.includes("lora_B"))
      tuning.store.write(
        name,
        "values",
        Float32Array.from({ length: shape[0]! * shape[1]! }, (_, i) => 0.1 * Math.sin(i)),
      );
  return tuning;
}

interface Run {
  readonly steps: readonly StepEvent[];
  readonly values: ReadonlyMap<string, Float32Array>;
}

async function run(
  method: Method,
  cut: { batchSize: number; gradAccumulation: number; packing?: boolean },
  objective: Objective,
): Promise<Run> {
  const tuning = await tuned(method);
  const names = ["a", "b"];
  const schedule = createSchedule({
    ...cut,
    tasks: names.map((name) => ({ name })),
    exampleTasks: examples.map(({ task }) => names.indexOf(task)),
    seed: 1,
    maxSteps: STEPS,
    shuffle: true,
  });
  const steps: StepEvent[] = [];
  for await (const event of train(tuning, {
    examples,
    schedule,
    tasks: [
      { name: "a", lossWeight: 0.3 },
      { name: "b", lossWeight: 1.7 },
    ],
    packing: cut.packing ?? true,
    objective,
    optimizer: adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, maxGradNorm: 1 }),
    learningRate: () => 1e-3,
    now: () => performance.now(),
  }))
    if (event.type === "step") steps.push(event);
  const values = await tuning.store.readAll("values");
  tuning.store.dispose();
  tuning.model.dispose();
  return { steps, values };
}

describe.each<[Method, Objective]>([
  ["lora with dropout", "token_mean"],
  ["full", "task_mean"],
])("%s, %s", (method, objective) => {
  let whole: Run;
  beforeAll(async () => {
    whole = await run(method, { batchSize: 8, gradAccumulation: 1 }, objective);
  });

  test("the windows are those that it takes: a smaller one ends each epoch, and the run learns", () => {
    expect(new Set(whole.steps.map((step) => step.target_tokens)).size).toBeGreaterThan(3);
    const tokens = whole.steps.slice(0, 3).reduce((sum, step) => sum + step.tokens, 0);
    expect(tokens).toBe(examples.reduce((sum, { inputIds }) => sum + inputIds.length, 0));
    expect(whole.steps.at(-1)!.loss).toBeLessThan(whole.steps[0]!.loss);
  });

  test.each([
    { batchSize: 4, gradAccumulation: 2 },
    { batchSize: 1, gradAccumulation: 8 },
    { batchSize: 8, gradAccumulation: 1, packing: false },
  ])("$batchSize × $gradAccumulation, packing $packing", async (cut) => {
    const { steps, values } = await run(method, cut, objective);
    expect(steps).toHaveLength(STEPS);
    const relative = (a: number, b: number): number => Math.abs(a - b) / Math.abs(b);
    const worst = { loss: 0, norm: 0, weights: 0 };
    for (const [i, step] of steps.entries()) {
      const expected = whole.steps[i]!;
      if (i === 0) {
        expect(relative(step.loss, expected.loss)).toBeLessThan(1e-6);
        expect(relative(step.grad_norm, expected.grad_norm)).toBeLessThan(1e-6);
      }
      worst.loss = Math.max(worst.loss, Math.abs(step.loss - expected.loss));
      worst.norm = Math.max(worst.norm, relative(step.grad_norm, expected.grad_norm));
      expect([step.tokens, step.target_tokens]).toEqual([expected.tokens, expected.target_tokens]);
    }
    // a key's bias adds the same to all scores of a query: its gradient is 0, and AdamW makes steps of what rounding leaves
    for (const [name, value] of values)
      if (!name.endsWith("k_proj.bias"))
        worst.weights = Math.max(worst.weights, maxError(value, whole.values.get(name)!));
    expect(worst.loss).toBeLessThan(5e-5);
    expect(worst.norm).toBeLessThan(1e-4);
    expect(worst.weights).toBeLessThan(1e-5);
  });
});
