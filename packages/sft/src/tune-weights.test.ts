// Training weights of the model itself: what a list of modules names, what then takes a gradient, and what that costs.
import { describe, expect, test } from "vitest";
import { makeBatch } from "@tunesmith/data";
import { drawModel, parameterShapes, readModelFormats, tokenBucket } from "@tunesmith/models";
import type { ModelConfig } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { adamw } from "@tunesmith/optim";
import { virtualDevice } from "@tunesmith/tensor";
import { testDevice } from "../../../tests/support/device.ts";
import { goldenPath, gradientError } from "../../../tests/support/goldens.ts";
import { RunPrograms } from "./programs.ts";
import { matchParameters, tuneWeights } from "./tune-weights.ts";
import type { Tuning } from "./tuning.ts";

const configOf = async (name: string): Promise<ModelConfig> =>
  (await readModelFormats(nodeFiles(), goldenPath("models", name))).config;

describe("unfreeze", () => {
  const names = async (model: string, ...patterns: string[]): Promise<string[]> =>
    [...matchParameters(patterns, await configOf(model))].sort();

  test("a path stands for itself and what lies below it, up to a dot", async () => {
    const layer = await names("llama-untied", "model.layers.1");
    expect(layer).toHaveLength(9);
    expect(layer.every((name) => name.startsWith("model.layers.1."))).toBe(true);
    expect(await names("llama-untied", "model.norm")).toEqual(["model.norm.weight"]);
    expect(await names("llama-untied", "model.layers.1.mlp.up_proj.weight", "lm_head")).toEqual([
      "lm_head.weight",
      "model.layers.1.mlp.up_proj.weight",
    ]);
  });
  test("layer 1 is not layer 10", async () => {
    const config = { ...(await configOf("llama-untied")), layers: 11 };
    expect([...matchParameters(["model.layers.1"], config)].filter((name) => name.includes("10"))).toEqual([]);
    expect([...matchParameters(["model.layers.1*.mlp"], config)]).toHaveLength(6);
  });
  test("globs; a dot is a dot", async () => {
    expect(await names("llama-untied", "*.q_proj")).toEqual([
      "model.layers.0.self_attn.q_proj.weight",
      "model.layers.1.self_attn.q_proj.weight",
    ]);
    expect(await names("llama-untied", "model.layers.?.input_layernorm")).toHaveLength(2);
    await expect(names("llama-untied", "model.layersX1")).rejects.toMatchObject({ code: "UNFREEZE_UNMATCHED" });
  });
  test("a tied head is the embedding", async () => {
    expect(await names("qwen2-tied", "lm_head")).toEqual(["model.embed_tokens.weight"]);
    expect(await names("qwen2-tied", "*")).toEqual([...parameterShapes(await configOf("qwen2-tied")).keys()].sort());
  });
  test("no match is an error that names what comes near", async () => {
    await expect(names("llama-untied", "model.layers.0", "model.layers.7")).rejects.toMatchObject({
      code: "UNFREEZE_UNMATCHED",
      details: { received: "model.layers.7" },
    });
    await expect(names("llama-untied", "q_proj")).rejects.toMatchObject({ details: { fix: "did you mean *.q_proj?" } });
  });
});

/** Rows of 20 and 30 tokens. */
const batch = makeBatch(
  [20, 30].map((length, row) => {
    const inputIds = Int32Array.from({ length }, (_, t) => (row * 31 + t * 17) % 250);
    const targets = Int32Array.from({ length }, (_, t) => inputIds[t + 1] ?? -100);
    return { inputIds, targets, targetWeights: targets.map((t) => Number(t !== -100)) as never, task: "a", row };
  }),
  { packing: true, tasks: ["a"] },
);
const OPTIMIZER = adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.1, maxGradNorm: 1 });
const tokens = tokenBucket(batch.inputIds.length);
const SHAPE = { microBatches: new Map([[tokens, 1]]), scored: new Set<number>(), tokens };

async function tuned(name: string, unfreeze: readonly string[] | undefined, virtual = false): Promise<Tuning> {
  const device = virtual ? virtualDevice((await testDevice()).facts) : await testDevice();
  const config = await configOf(name);
  return tuneWeights(device, config, (place) => drawModel(device, config, { seed: 5, ...place }), { unfreeze });
}

/** Gradients of one micro-batch by name. */
async function gradientsOf(tuning: Tuning): Promise<Map<string, Float32Array>> {
  const programs = new RunPrograms(tuning, { optimizer: OPTIMIZER, shape: SHAPE });
  await programs.microBatch(batch, new Float32Array(batch.inputIds.length).fill(0.02), { step: 0, firstSegment: 0 });
  const gradients = await tuning.store.readAll("gradients");
  programs.dispose();
  tuning.store.dispose();
  tuning.model.dispose();
  return gradients;
}

describe("what trains has the gradient it has when all train", () => {
  test.each<[string, string[]]>([
    ["llama-untied", ["*.q_proj", "*.up_proj", "model.layers.0.input_layernorm"]], // one of several that share a product
    ["llama-untied", ["model.layers.1", "lm_head"]],
    ["llama-untied", ["*.v_proj", "*.k_proj", "*.o_proj"]],
    ["llama-untied", ["model.embed_tokens"]],
    ["qwen2-tied", ["*.bias", "lm_head"]],
    ["gpt2", ["transformer.h.1.mlp", "*.ln_1.bias", "transformer.wpe"]],
  ])("%s %j", async (name, unfreeze) => {
    const all = await gradientsOf(await tuned(name, undefined));
    const own = await gradientsOf(await tuned(name, unfreeze));
    expect(own.size).toBeGreaterThan(0);
    expect(own.size).toBeLessThan(all.size);
    for (const [parameter, gradient] of own) {
      expect(gradientError(gradient, all.get(parameter)!), parameter).toBeLessThan(1e-5);
      if (!parameter.endsWith("k_proj.bias"))
        expect(
          gradient.some((g) => g !== 0),
          parameter,
        ).toBe(true);
    }
  });
});

describe("nothing runs back below the lowest trained layer", () => {
  /** dispatches of a micro-batch, and bytes that its forward pass keeps for backward */
  async function cost(unfreeze: readonly string[] | undefined): Promise<{ launches: number; saved: number }> {
    const programs = new RunPrograms(await tuned("llama-untied", unfreeze, true), {
      optimizer: OPTIMIZER,
      shape: SHAPE,
    });
    const [microBatch] = programs.all;
    const { launches, savedBytes } = microBatch!.plan;
    return { launches: launches.length, saved: savedBytes };
  }
  test("each layer that is left out saves its backward", async () => {
    const head = await cost(["lm_head"]);
    const upper = await cost(["model.layers.1"]);
    const both = await cost(["model.layers"]);
    // the same forward; without layers to go back through, the head and its loss alone
    expect(upper.launches - head.launches).toBeGreaterThan(20);
    expect(both.launches - upper.launches).toBeGreaterThan(20);
    expect(upper.saved).toBeLessThan(0.6 * both.saved);
    expect(head.saved).toBeLessThan(0.3 * upper.saved);
  });
});

test("norms and biases are in the group without decay, all else in the one with", async () => {
  const { store } = await tuned("qwen2-tied", undefined, true);
  const { groups, slices, shards } = store.layout;
  const decays = (name: string): boolean => {
    const { shard, start } = slices.get(name)![0]!;
    return groups[
      shards[shard]!.ranges.find((range) => start >= range.start && start < range.start + range.size)!.group
    ]!.decay;
  };
  for (const name of store.names) expect([name, decays(name)]).toEqual([name, !/norm|bias/.test(name)]);
});
