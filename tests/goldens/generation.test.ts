// Greedy continuations of the golden models through the KV cache, one row and two rows of unequal length.
import { Generator, loadModel } from "@tunesmith/models";
import type { GenerateOptions, Model } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../support/device.ts";
import { goldenPath, readJson } from "../support/goldens.ts";

const MODELS = [
  "llama-untied",
  "llama-llama3rope-tied",
  "llama-bf16",
  "mistral-swa",
  "qwen2-tied",
  "qwen3-tied",
  "smollm3",
  "gemma",
  "gemma2",
  "gemma3",
  "phi3",
  "gpt2",
  "gpt-neox",
];

interface Generation {
  single: { prompt: number[]; continuation: number[] };
  left_padded_pair: { input_ids: number[][]; attention_mask: number[][]; continuation: number[][] };
}

const greedy: GenerateOptions = {
  maxNewTokens: 20,
  stopIds: [],
  seed: 0,
  temperature: 0,
  topK: 0,
  topP: 1,
  repetitionPenalty: 1,
};

// one model runs on a device that promises neither subgroups nor immediates: other variants of every kernel
const PORTABLE = { software: false, subgroups: false, immediates: false };
const CASES = [
  ...MODELS.map((name) => ({ name, label: name, facts: undefined })),
  { name: "mistral-swa", label: "mistral-swa, portable kernels", facts: PORTABLE },
];

describe.each(CASES)("$label", ({ name, facts }) => {
  const { generation } = readJson<{ generation: Generation }>("models", name, "golden.json");
  let model: Model;
  let generator: Generator;
  beforeAll(async () => {
    model = await loadModel(await testDevice(facts), nodeFiles(), goldenPath("models", name));
    generator = new Generator(model);
  });
  afterAll(() => {
    generator.dispose();
    model.dispose();
  });

  test("one row", async () => {
    const { prompt, continuation } = generation.single;
    const [row] = await generator.generate([Int32Array.from(prompt)], { ...greedy, maxNewTokens: continuation.length });
    expect(row).toEqual({ ids: continuation, finishReason: "length" });
  });

  test("two rows of unequal length", async () => {
    const pair = generation.left_padded_pair;
    const prompts = pair.input_ids.map((ids, r) =>
      Int32Array.from(ids.filter((_, i) => pair.attention_mask[r]![i] === 1)),
    );
    const rows = await generator.generate(prompts, { ...greedy, maxNewTokens: pair.continuation[0]!.length });
    expect(rows.map((row) => row.ids)).toEqual(pair.continuation);
  });

  test("a stop id ends its row and not the other", async () => {
    const pair = generation.left_padded_pair;
    const stop = pair.continuation[0]![2]!;
    const prompts = pair.input_ids.map((ids, r) =>
      Int32Array.from(ids.filter((_, i) => pair.attention_mask[r]![i] === 1)),
    );
    const rows = await generator.generate(prompts, { ...greedy, maxNewTokens: 8, stopIds: [stop] });
    for (const [row, ids] of pair.continuation.entries()) {
      const end = ids.slice(0, 8).indexOf(stop);
      const expected =
        end < 0
          ? { ids: ids.slice(0, 8), finishReason: "length" }
          : { ids: ids.slice(0, end + 1), finishReason: "eos" };
      expect(rows[row]).toEqual(expected);
    }
    expect(rows[0]!.finishReason).toBe("eos");
  });
});

describe("limits", () => {
  test("a prompt that is empty or fills the context is refused; generation stops at the last position", async () => {
    const model = await loadModel(await testDevice(), nodeFiles(), goldenPath("models", "llama-untied"), {
      positions: 12,
    });
    const generator = new Generator(model);
    const { prompt, continuation } = readJson<{ generation: Generation }>("models", "llama-untied", "golden.json")
      .generation.single;
    for (const ids of [[], Array.from({ length: 12 }, () => 5)])
      await expect(generator.generate([Int32Array.from(ids)], greedy)).rejects.toMatchObject({
        code: "CONTEXT_TOO_LONG",
      });
    const [row] = await generator.generate([Int32Array.from(prompt)], greedy);
    expect(row).toEqual({ ids: continuation.slice(0, 12 - prompt.length), finishReason: "length" });
    generator.dispose();
    model.dispose();
  });
});
