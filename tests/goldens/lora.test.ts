// LoRA against PEFT: loss and gradients of a saved adapter, one AdamW step, and 20 steps of the real training loop.
import { nodeFiles } from "@tunesmith/node";
import { linearPaths, loadModel, readModelConfig } from "@tunesmith/models";
import type { Model } from "@tunesmith/models";
import { readPeft, writePeft } from "@tunesmith/lora";
import { learningRate } from "@tunesmith/optim";
import { ScorePrograms, storeForModel } from "@tunesmith/sft";
import type { Device } from "@tunesmith/tensor";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../support/device.ts";
import { runSteps, tuning } from "../support/golden-training.ts";
import { flatBatch, goldenPath, gradientError, maxError, readGolden, readJson } from "../support/goldens.ts";

// the base, and an adapter on it; fused projections in Phi-3, weights stored [in, out] in GPT-2
const BASES: Readonly<Record<string, string>> = {
  llama_qkvo: "llama-untied",
  llama_all_linear: "llama-untied",
  qwen2_all_linear: "qwen2-tied",
  qwen3_all_linear: "qwen3-tied",
  gemma_all_linear: "gemma",
  phi3_all_linear: "phi3",
  gpt2_all_linear: "gpt2",
  llama_qkvo_rslora: "llama-untied",
  llama_qkvo_dora: "llama-untied",
  gpt2_dora: "gpt2",
};

let device: Device;
let model: Model;
const useBase = (base: string): void => {
  beforeAll(async () => {
    device = await testDevice();
    model = await loadModel(device, nodeFiles(), goldenPath("models", base));
  });
  afterAll(() => model.dispose());
};

describe.each(Object.entries(BASES))("%s", (name, base) => {
  useBase(base);

  test("loss, gradient norm and the first AdamW step", async () => {
    const golden = readGolden("lora", name, "golden.safetensors");
    const tuned = await tuning(model, name, "adapter");
    const [step] = await runSteps(tuned, golden, {
      totalSteps: 1,
      window: () => [[0, 1]],
      lr: () => 1e-3,
      clip: undefined,
      packing: true,
    });
    const info = readJson<{ loss_float64: number }>("lora", name, "golden.json");
    expect(Math.abs(step!.loss - info.loss_float64)).toBeLessThan(2e-5);
    const gradients = readGolden("lora", name, "grads.safetensors");
    const norm = Math.sqrt(
      [...gradients.values()].reduce((sum, { values }) => sum + values.reduce((s, v) => s + v * v, 0), 0),
    );
    expect(Math.abs(step!.grad_norm - norm) / norm).toBeLessThan(1e-5);
    const after = readGolden("lora", name, "after_one_adamw_step.safetensors");
    const values = await tuned.store.readAll("values");
    expect([...values.keys()].sort()).toEqual([...after.keys()].sort());
    for (const [parameter, expected] of after)
      expect(maxError(values.get(parameter)!, expected.values), parameter).toBeLessThan(1e-5);
    tuned.store.dispose();
  });

  test("gradients of every A and B", async () => {
    const golden = readGolden("lora", name, "golden.safetensors");
    const tuned = await tuning(model, name, "adapter");
    // a rate of 0 leaves the parameters alone, and AdamW's first moment is then (1 − β₁) times the gradient
    await runSteps(tuned, golden, {
      totalSteps: 1,
      window: () => [[0, 1]],
      lr: () => 0,
      clip: undefined,
      packing: false,
    });
    const moments = await tuned.store.readAll("m");
    for (const [parameter, { values }] of readGolden("lora", name, "grads.safetensors"))
      expect(
        gradientError(
          moments.get(parameter)!.map((m) => m / 0.1),
          values,
        ),
        parameter,
      ).toBeLessThan(1e-4);
    tuned.store.dispose();
  });

  test("an adapter that was read is written back with the same tensors", async () => {
    const tuned = await tuning(model, name, "adapter");
    const folder = mkdtempSync(join(tmpdir(), "tunesmith-"));
    try {
      await writePeft(nodeFiles(), folder, tuned.adapter, "base");
      const again = await readPeft(nodeFiles(), folder, linearPaths(model.config));
      const original = readGolden("lora", name, "adapter", "adapter_model.safetensors");
      expect([...again.values.keys()].sort()).toEqual([...original.keys()].sort());
      for (const [parameter, { values }] of original) expect(maxError(again.values.get(parameter)!, values)).toBe(0);
      const keys = (path: string): Record<string, unknown> =>
        JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
      const theirs = keys(goldenPath("lora", name, "adapter", "adapter_config.json"));
      for (const [key, value] of Object.entries(keys(join(folder, "adapter_config.json"))))
        if (!["base_model_name_or_path", "auto_mapping"].includes(key))
          expect(sorted(value), key).toEqual(sorted(theirs[key]));
    } finally {
      rmSync(folder, { recursive: true });
      tuned.store.dispose();
    }
  });
});

test("the loop and scoring cap logits: all weights of Gemma 2", async () => {
  const own = await testDevice();
  const folder = goldenPath("models", "gemma2");
  const config = await readModelConfig(nodeFiles(), folder);
  const { store, place } = storeForModel(own, config);
  const trained = await loadModel(own, nodeFiles(), folder, { place });
  const tuned = { model: trained, store, adapter: undefined };
  const golden = readGolden("models", "gemma2", "golden_plain.safetensors");
  const options = { totalSteps: 1, window: () => [[0, 1]], lr: () => 0, clip: undefined, packing: true };
  const [step] = await runSteps(tuned, golden, options);
  expect(Math.abs(step!.loss - golden.get("loss")!.values[0]!)).toBeLessThan(2e-5);
  const norm = Math.sqrt(
    [...readGolden("models", "gemma2", "grads_plain.safetensors").values()]
      .flatMap(({ values }) => [...values])
      .reduce((sum, v) => sum + v * v, 0),
  );
  expect(Math.abs(step!.grad_norm - norm) / norm).toBeLessThan(1e-5);

  const scores = new ScorePrograms(tuned);
  const row = flatBatch(golden, { from: 0, to: 1 });
  const targets = row.inputIds.map((_, i) => row.inputIds[i + 1] ?? -100);
  const { logProbs } = await scores.score({ ...row, targets });
  const expected = golden.get("logprobs")!.values.subarray(0, row.columns - 1);
  expect(maxError(logProbs, expected)).toBeLessThan(1e-4);
  scores.dispose();
  trained.dispose();
  store.dispose();
});

const sorted = (value: unknown): unknown => (Array.isArray(value) ? [...(value as string[])].sort() : value);

describe.each(["llama_qkvo_20steps", "llama_all_linear_20steps"])("%s", (name) => {
  useBase("llama-untied");

  // packed and padded give the same numbers, so each run proves one of them
  test.each([true, false])("20 steps with packing: %s", async (packing) => {
    const log = readJson<{
      steps: { loss: number; label_tokens: number; grad_norm_before_clip: number; lr: number }[];
    }>("lora", name, "log.json");
    const tuned = await tuning(model, name, "adapter_start");
    const schedule = { name: "linear" as const, lr: 1e-3, warmupSteps: 3, totalSteps: 20 };
    const events = await runSteps(tuned, readGolden("lora", name, "data.safetensors"), {
      totalSteps: 20,
      window: (step) => [0, 1].map((m) => [4 * step + 2 * m, 4 * step + 2 * m + 1]),
      lr: (step) => learningRate(schedule, step),
      clip: 1,
      packing,
    });
    expect(events).toHaveLength(20);
    for (const [i, expected] of log.steps.entries()) {
      const step = events[i]!;
      expect(Math.abs(step.loss - expected.loss), `loss of step ${i + 1}`).toBeLessThan(5e-5);
      expect(Math.abs(step.grad_norm - expected.grad_norm_before_clip) / expected.grad_norm_before_clip).toBeLessThan(
        1e-4,
      );
      expect(Math.abs(step.lr - expected.lr)).toBeLessThan(1e-15);
      expect(step.target_tokens).toBe(expected.label_tokens);
    }
    const values = await tuned.store.readAll("values");
    for (const [parameter, expected] of readGolden("lora", name, "adapter_final", "adapter_model.safetensors"))
      expect(maxError(values.get(parameter)!, expected.values), parameter).toBeLessThan(1e-5);
    for (const [key, expected] of readGolden("lora", name, "adamw_state_after_20.safetensors")) {
      const second = key.endsWith(".exp_avg_sq");
      const parameter = key.slice(0, key.lastIndexOf(".exp_avg"));
      const state = await tuned.store.read(parameter, second ? "v" : "m");
      expect(gradientError(state, expected.values), key).toBeLessThan(1e-3);
    }
    tuned.store.dispose();
  });
});
