// What common models take, planned on hardware that this machine does not have: nothing is allocated, so their size does
// not matter. The bounds are promises of the documentation.
import { parseStrictJson } from "@tunesmith/core";
import { fourBitCodec } from "@tunesmith/lora";
import { parseModelConfig, planModel } from "@tunesmith/models";
import type { ModelConfig } from "@tunesmith/models";
import { adamw } from "@tunesmith/optim";
import { chooseMemory, planRun, tuneLora } from "@tunesmith/sft";
import type { MemoryChoice, RunShape, StepMemory, Tuning } from "@tunesmith/sft";
import { virtualDevice } from "@tunesmith/tensor";
import type { DeviceFacts, MemoryPlan } from "@tunesmith/tensor";
import { describe, expect, test } from "vitest";

const LLAMA_1B = {
  model_type: "llama",
  hidden_size: 2048,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 64,
  intermediate_size: 8192,
  vocab_size: 128256,
  tie_word_embeddings: true,
  max_position_embeddings: 131072,
  rope_theta: 500000,
};
const QWEN_HALF_B = {
  model_type: "qwen2",
  hidden_size: 896,
  num_hidden_layers: 24,
  num_attention_heads: 14,
  num_key_value_heads: 2,
  intermediate_size: 4864,
  vocab_size: 151936,
  tie_word_embeddings: true,
  max_position_embeddings: 32768,
  rope_theta: 1000000,
};
const STORIES_15M = {
  ...LLAMA_1B,
  hidden_size: 288,
  num_hidden_layers: 6,
  num_attention_heads: 6,
  num_key_value_heads: 6,
  head_dim: 48,
  intermediate_size: 768,
  vocab_size: 32000,
};
const SMALL = {
  ...LLAMA_1B,
  hidden_size: 96,
  num_hidden_layers: 5,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 16,
  intermediate_size: 256,
  vocab_size: 1024,
};

const SOFTWARE: DeviceFacts = {
  vendor: "mesa",
  architecture: "software",
  description: "lavapipe",
  software: true,
  subgroups: true,
  subgroupMinSize: 8,
  subgroupMaxSize: 8,
  immediates: true,
  maxBindingBytes: 2 ** 27,
  offsetAlignment: 256,
  maxWorkgroups: 65535,
  matrices: [],
};
const LAPTOP: DeviceFacts = {
  ...SOFTWARE,
  vendor: "nvidia",
  architecture: "ada",
  description: "laptop",
  software: false,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  maxBindingBytes: 2 ** 31 - 256,
};

const optimizer = adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, maxGradNorm: 1 });
const nf4 = fourBitCodec({ quantize: { type: "nf4", doubleQuant: true, blockSize: 64 } });

async function tuned(json: object, facts: DeviceFacts, quantized: boolean): Promise<Tuning> {
  const config: ModelConfig = parseModelConfig(parseStrictJson(JSON.stringify(json), { path: "config.json" }), "");
  const codec = quantized ? { codec: nf4 } : {};
  const model = await planModel(virtualDevice(facts), config, { positions: 4096, ...codec });
  const lora = { r: 16, alpha: 32, useRslora: false, targetModules: "all-linear" };
  return tuneLora(model, lora, { seed: 0 });
}

const shape = (tokens: number): RunShape => ({
  microBatches: new Map([[tokens, 2]]),
  scored: new Set<number>(),
  tokens,
});
const slots = (plan: MemoryPlan): number => plan.slots.reduce((a, b) => a + b, 0);

describe("NF4 base, LoRA r = 16 on all linear layers, 4 × 1024 tokens, recomputed by layer", () => {
  const run = async (json: object, facts: DeviceFacts, most: number): Promise<MemoryChoice> =>
    chooseMemory({
      tuning: await tuned(json, facts, true),
      optimizer,
      shape: (examples) => shape(1024 * examples),
      batchSize: 4,
      fixed: { recompute: "layer" },
      budget: most,
    });

  test.each([
    ["Llama-3.2-1B", LLAMA_1B, 2.5e9, 0.5],
    ["Qwen2.5-0.5B", QWEN_HALF_B, 1.45e9, 0.185],
  ] as const)("%s", async (_, json, most, gigabytes) => {
    const { plan, microBatchSize } = await run(json, LAPTOP, most);
    expect(microBatchSize).toBe(4);
    expect(plan.peakBytes).toBeLessThanOrEqual(most);
    // four bits and a scale in eight bits per block of 64, next to embedding and head in bf16
    const quantized = plan.categories.weights - 2 * json.vocab_size * json.hidden_size;
    expect(quantized / 1e9).toBeGreaterThan(gigabytes);
    expect(quantized / 1e9).toBeLessThan(1.02 * gigabytes);

    // where a binding holds 128 MiB the four examples are cut
    const software = await run(json, SOFTWARE, most);
    expect(software.plan.peakBytes).toBeLessThan(plan.peakBytes);
    expect(software.reason).toContain("largest binding");
  });
});

describe("slots stay within 1.15 of the most bytes that are alive at one time", () => {
  const cases: [string, object, DeviceFacts, number, StepMemory][] = [];
  for (const [name, json] of Object.entries({ LLAMA_1B, QWEN_HALF_B, SMALL }))
    for (const facts of [SOFTWARE, LAPTOP])
      for (const recompute of ["none", "layer"] as const)
        for (const tokens of [512, facts === SOFTWARE ? 1024 : 4096])
          cases.push([`${name} on ${facts.description}`, json, facts, tokens, { recompute }]);
  // logits are most of the bytes, in one buffer that few others can share: 64 rows of them, not 512 (1.2)
  cases.push(["15M, 64 rows of logits", STORIES_15M, SOFTWARE, 256, { recompute: "layer", chunkRows: 64 }]);
  test.each(cases)("%s: %#", async (_, json, facts, tokens, memory) => {
    const plan = planRun(await tuned(json, facts, false), { optimizer, shape: shape(tokens), memory });
    expect(slots(plan) / plan.peak.bytes).toBeGreaterThanOrEqual(1);
    expect(slots(plan) / plan.peak.bytes).toBeLessThanOrEqual(1.15);
    expect(plan.slots).toEqual([...plan.slots].sort((a, b) => b - a));
  });
});
