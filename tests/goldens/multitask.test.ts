// Three tasks with weights in one step against transformers and PEFT: L = Σ λ_k · mean_k, and its gradient, for all weights of
// a model and for an adapter, however the step is cut.
import { beforeAll, describe, expect, test } from "vitest";
import { loadModel, readModelConfig } from "@tunesmith/models";
import type { Model } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { tuneWeights } from "@tunesmith/sft";
import type { Tuning } from "@tunesmith/sft";
import type { Device } from "@tunesmith/tensor";
import { testDevice } from "../support/device.ts";
import { runSteps, tuning } from "../support/golden-training.ts";
import { goldenPath, gradientError, readGolden, readJson } from "../support/goldens.ts";

interface Expected {
  readonly loss_float64: number;
  readonly task_losses_float64: readonly number[];
  readonly task_label_tokens: readonly number[];
}
type Method = "full" | "lora_qkvo";

const FOLDER = goldenPath("models", "llama-untied");
const golden = readJson<Record<Method, Expected> & { lambdas: number[] }>("multitask", "golden.json");

let device: Device;
beforeAll(async () => {
  device = await testDevice();
});

async function tuned(method: Method): Promise<Tuning> {
  const load = (placed: object): Promise<Model> => loadModel(device, nodeFiles(), FOLDER, placed);
  if (method === "full") return tuneWeights(device, await readModelConfig(nodeFiles(), FOLDER), load);
  return tuning(await load({}), "llama_qkvo", "adapter");
}

describe.each<Method>(["full", "lora_qkvo"])("%s", (method) => {
  test.each([
    { cut: [[0, 1, 2, 3, 4, 5, 6]], packing: true },
    { cut: [[0, 1, 2, 3], [4, 5], [6]], packing: false },
  ])("$cut", async ({ cut, packing }) => {
    const own = await tuned(method);
    // a rate of 0 leaves all as it is, and AdamW's first moment is then (1 − β₁) times the gradient
    const options = { totalSteps: 1, window: () => cut, lr: () => 0, clip: undefined, packing };
    const batch = readGolden("multitask", `batch_${method}.safetensors`);
    const [step] = await runSteps(own, batch, { ...options, lambdas: golden.lambdas });
    const { loss_float64: loss, task_losses_float64: losses, task_label_tokens: targets } = golden[method];
    expect(Math.abs(step!.loss - loss)).toBeLessThan(2e-5);
    for (const [k, mean] of losses.entries()) {
      expect(step!.tasks[k]!.targets).toBe(targets[k]);
      expect(Math.abs(step!.tasks[k]!.loss - mean)).toBeLessThan(2e-5);
    }
    const expected = readGolden("multitask", `grads_${method}.safetensors`);
    expect(own.store.names.toSorted()).toEqual([...expected.keys()].toSorted());
    for (const [name, { values }] of expected) {
      const moment = await own.store.read(name, "m");
      const gradient = moment.map((value) => value / 0.1);
      expect(gradientError(gradient, values), name).toBeLessThan(1e-4);
    }
    own.store.dispose();
    own.model.dispose();
  });
});
