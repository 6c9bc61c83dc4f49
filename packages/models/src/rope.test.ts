// Frequencies against those that transformers 5.23 computes (`ROPE_INIT_FUNCTIONS`, float32).
import { parseStrictJson } from "@tunesmith/core";
import { describe, expect, test } from "vitest";
import { parseModelConfig } from "./config.ts";
import { inverseFrequencies, rotaryScale } from "./rope.ts";

const base = {
  model_type: "llama",
  vocab_size: 10,
  hidden_size: 48,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 3,
  max_position_embeddings: 64,
};

const yarn = { rope_type: "yarn", rope_theta: 10_000, factor: 8, original_max_position_embeddings: 64 };
const cases = [
  {
    name: "yarn, narrow ramp",
    config: {
      rope_parameters: {
        rope_type: "yarn",
        rope_theta: 500,
        factor: 4,
        original_max_position_embeddings: 16,
        beta_fast: 4,
        beta_slow: 1,
      },
    },
    frequencies: [1, 0.28741455, 0.05286856, 0.024312312, 0.01118034, 0.0051414282, 0.002364354, 0.0010872796],
    scale: 1.13862943611,
  },
  {
    name: "yarn as Qwen2.5 writes it, before transformers 5",
    config: {
      rope_theta: 1e6,
      rope_scaling: { type: "yarn", factor: 4, original_max_position_embeddings: 32768 },
    },
    frequencies: [1, 0.17782794, 0.031622779, 0.0042175599, 5.0000002e-4, 4.4456985e-5, 7.9056936e-6, 1.4058534e-6],
    scale: 1.13862943611,
  },
  {
    name: "yarn with DeepSeek's keys, without rounding",
    config: { rope_parameters: { ...yarn, mscale: 0.7, mscale_all_dim: 1, truncate: false } },
    frequencies: [1, 0.17897615, 0.013194458, 0.0039528473, 0.00125, 3.9528473e-4, 1.2500001e-4, 3.9528473e-5],
    scale: 0.94835585235,
  },
  {
    name: "yarn with its own factor",
    config: { rope_parameters: { ...yarn, attention_factor: 1.5 } },
    frequencies: [1, 0.22399466, 0.041666664, 0.0039528473, 0.00125, 3.9528473e-4, 1.2500001e-4, 3.9528473e-5],
    scale: 1.5,
  },
  {
    name: "longrope on three quarters of a head",
    config: {
      model_type: "phi3",
      max_position_embeddings: 128,
      original_max_position_embeddings: 32,
      partial_rotary_factor: 0.75,
      rope_scaling: { type: "su", short_factor: [1, 1.1, 1.3, 1.7, 2, 2.5], long_factor: [2, 2, 2, 2, 2, 2] },
    },
    frequencies: [1, 0.19585769, 0.035704527, 0.0058823531, 0.0010772172, 1.8566358e-4],
    scale: 1.18321595662,
  },
];

describe("inverseFrequencies", () => {
  test.each(cases)("$name", ({ config, frequencies, scale }) => {
    const parsed = parseModelConfig(parseStrictJson(JSON.stringify({ ...base, ...config })), "config.json");
    const [rope] = parsed.ropes;
    const found = inverseFrequencies(rope!, parsed.rotaryDim);
    expect(found).toHaveLength(frequencies.length);
    for (const [i, expected] of frequencies.entries()) expect(Math.abs(found[i]! / expected - 1)).toBeLessThan(5e-7);
    expect(Math.abs(rotaryScale(rope!) - scale)).toBeLessThan(1e-10);
  });
});
