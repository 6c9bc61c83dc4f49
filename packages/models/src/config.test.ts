import { parseStrictJson } from "@tunesmith/core";
import { readdirSync, readFileSync, existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { goldenPath } from "../../../tests/support/goldens.ts";
import { ARCHITECTURES } from "./architectures/registry.ts";
import { parseModelConfig } from "./config.ts";
import type { ModelConfig } from "./config.ts";

const parse = (json: unknown): ModelConfig => parseModelConfig(parseStrictJson(JSON.stringify(json)), "config.json");
const base = {
  model_type: "llama",
  vocab_size: 300,
  hidden_size: 64,
  intermediate_size: 112,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  eos_token_id: [2, 5],
};

describe("parseModelConfig", () => {
  const models = [
    "llama-untied",
    "llama-llama3rope-tied",
    "llama-bf16",
    "llama-sharded",
    "mistral-swa",
    "qwen2-tied",
    "qwen2-fp16",
    "qwen3-tied",
    "smollm3",
    "gemma",
    "gemma2",
    "gemma3",
    "phi3",
    "gpt2",
    "gpt-neox",
  ];
  test.each(models)("%s: both spellings of the file mean the same", (name) => {
    const read = (file: string): ModelConfig =>
      parseModelConfig(parseStrictJson(readFileSync(goldenPath("models", name, file), "utf8")), file);
    expect(read("config.json")).toEqual(read("config.v5.json"));
  });

  test("windows: mistral's applies to every layer, qwen2's only when switched on, from its first layer", () => {
    const qwen = { ...base, model_type: "qwen2", sliding_window: 4, max_window_layers: 1 };
    expect(parse({ ...base, sliding_window: 8 }).windows).toEqual([undefined, undefined]);
    expect(parse({ ...base, model_type: "mistral", sliding_window: 8 }).windows).toEqual([8, 8]);
    expect(parse({ ...base, model_type: "mistral", sliding_window: null }).windows).toEqual([undefined, undefined]);
    expect(parse({ ...base, model_type: "mistral" }).windows).toEqual([4096, 4096]);
    expect(parse({ ...qwen, use_sliding_window: false }).windows).toEqual([undefined, undefined]);
    expect(parse({ ...qwen, use_sliding_window: true }).windows).toEqual([undefined, 4]);
  });

  test("head_dim, biases and end tokens", () => {
    expect(parse(base)).toMatchObject({
      headDim: 16,
      qkvBias: false,
      outputBias: false,
      mlpBias: false,
      eosTokenIds: [2, 5],
      tiedHead: false,
    });
    expect(parse({ ...base, attention_bias: true, mlp_bias: true })).toMatchObject({
      qkvBias: true,
      outputBias: true,
      mlpBias: true,
    });
    expect(parse({ ...base, model_type: "qwen2" })).toMatchObject({ qkvBias: true, outputBias: false });
    expect(parse({ ...base, model_type: "qwen3", head_dim: 32 })).toMatchObject({
      headDim: 32,
      qkNorm: true,
      qkvBias: false,
    });
  });

  test("what the newer architectures add", () => {
    const gemma = { ...base, head_dim: 24 };
    expect(parse({ ...gemma, model_type: "gemma", hidden_act: "gelu" })).toMatchObject({
      activation: "gelu_tanh",
      norm: "rms_offset",
      embeddingScale: 8,
      tiedHead: true,
    });
    expect(parse({ ...gemma, model_type: "gemma2", query_pre_attn_scalar: 16 })).toMatchObject({
      windows: [4096, undefined],
      attentionScale: 0.25,
      attentionSoftCap: 50,
      logitSoftCap: 30,
    });
    expect(parse({ ...gemma, model_type: "gemma2", attn_logit_softcapping: null }).attentionSoftCap).toBeUndefined();
    const seven = parse({ ...gemma, model_type: "gemma3_text", num_hidden_layers: 7, sliding_window: 5 });
    expect(seven.windows).toEqual([5, 5, 5, 5, 5, undefined, 5]);
    expect(seven.ropes.map((rope) => rope!.theta)).toEqual([1e4, 1e4, 1e4, 1e4, 1e4, 1e6, 1e4]);
    const five = parse({ ...base, model_type: "smollm3", num_hidden_layers: 5, use_sliding_window: true });
    expect(five.ropes.map((rope) => rope?.theta)).toEqual([2e6, 2e6, 2e6, undefined, 2e6]);
    expect(parse({ ...base, model_type: "phi3", partial_rotary_factor: 0.75 })).toMatchObject({
      rotaryDim: 12,
      windows: [undefined, undefined],
    });
    const neox = { ...base, model_type: "gpt_neox", rotary_pct: 0.5, rotary_emb_base: 500 };
    expect(parse(neox)).toMatchObject({ rotaryDim: 8, parallelResidual: true, activation: "gelu", tiedHead: false });
    expect(parse(neox).ropes[0]).toEqual({ type: "default", theta: 500 });
  });

  test("longrope knows its original context; beyond it other frequencies would count", () => {
    const short = Array.from({ length: 8 }, () => 1);
    const scaling = { type: "longrope", short_factor: short, long_factor: short };
    const phi = { ...base, model_type: "phi3", rope_scaling: scaling, original_max_position_embeddings: 32 };
    expect(parse(phi)).toMatchObject({ maxPositions: 32, positionsAreBounded: true });
    expect(parse({ ...phi, original_max_position_embeddings: 128 })).toMatchObject({ positionsAreBounded: false });
  });

  test.each([
    [{ model_type: "gemma3", text_config: {} }, /model_type "gemma3" .* takes images/],
    [{ model_type: "mixtral" }, /model_type "mixtral"/],
    [{ model_type: "bert" }, /model_type "bert" .* it is an encoder: .* takes a decoder-only/],
    [{ model_type: "roberta" }, /model_type "roberta" .* it is an encoder/],
    [{ model_type: "xlm-roberta" }, /it is an encoder/],
    [{ model_type: "deberta-v2" }, /it is an encoder/],
    [{ model_type: "modernbert" }, /it is an encoder/],
    [{ model_type: "t5" }, /it has an encoder beside its decoder/],
    [{ model_type: "clip" }, /it reads images/],
    [{ architectures: ["LlamaForSequenceClassification"] }, /"LlamaForSequenceClassification": its head classifies/],
    [{ hidden_act: "gelu" }, /hidden_act "gelu"/],
    [{ rope_scaling: { rope_type: "dynamic", factor: 4 } }, /rope_type "dynamic"/],
    [{ head_dim: 260 }, /head_dim "260".* up to 256/],
    [{ num_local_experts: 8 }, /num_local_experts is 8, a feature/],
    [{ logit_scale: 0.0625 }, /logit_scale/],
    [{ attn_logit_softcapping: 50 }, /attn_logit_softcapping is 50/],
    [{ no_rope_layers: [1, 0] }, /no_rope_layers/],
    [{ is_encoder_decoder: true }, /is_encoder_decoder/],
    [{ partial_rotary_factor: 0.5 }, /partial_rotary_factor "0.5"/],
    [{ model_type: "mistral", sliding_window: 4, layer_types: ["full_attention", "sliding_attention"] }, /layer_types/],
    [{ model_type: "qwen2", use_sliding_window: true, layer_types: ["linear_attention", "x"] }, /linear_attention/],
    [{ model_type: "gemma", hidden_act: "relu" }, /hidden_act "relu"/],
    [{ model_type: "gemma2", use_bidirectional_attention: true }, /use_bidirectional_attention/],
    [{ model_type: "gemma3_text", attn_logit_softcapping: 50 }, /attn_logit_softcapping is 50/],
  ])("%j is refused by name", (change, message) => {
    expect(() => parse({ ...base, ...change })).toThrow(expect.objectContaining({ code: "ARCHITECTURE_UNSUPPORTED" }));
    expect(() => parse({ ...base, ...change })).toThrow(message);
  });

  test.each([
    [{ hidden_size: 0 }, /hidden_size is 0/],
    [{ hidden_size: "64" }, /hidden_size is "64"/],
    [{ num_key_value_heads: 3 }, /divisor of num_attention_heads/],
    [{ head_dim: 7 }, /even/],
    [{ rms_norm_eps: -1 }, /rms_norm_eps/],
    [{ vocab_size: null }, /vocab_size is missing/],
    [{ eos_token_id: "x" }, /eos_token_id/],
    [{ rope_scaling: { rope_type: "llama3", factor: 8 } }, /rope_scaling.low_freq_factor is missing/],
    [{ rope_scaling: { rope_type: "linear", factor: 0 } }, /rope_scaling.factor is 0/],
    [{ rope_scaling: { rope_type: "longrope", short_factor: [1, 2] } }, /rope_scaling.short_factor is a list of 2/],
    [{ model_type: "smollm3", no_rope_layers: [1] }, /no_rope_layers/],
    [{ model_type: "gemma3_text", layer_types: ["full_attention"] }, /layer_types is a list of 1/],
    [{ model_type: "gemma2", final_logit_softcapping: 0 }, /final_logit_softcapping is 0/],
    [{ model_type: "gpt_neox", rotary_pct: 0.2 }, /even number/],
  ])("%j is invalid", (change, message) => {
    expect(() => parse({ ...base, ...change })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    expect(() => parse({ ...base, ...change })).toThrow(message);
  });

  test("real and malformed files from elsewhere: parsed, or a typed error", ({ skip }) => {
    const folder = new URL("../../../../shared/fixtures/models/configs_mlxd/", import.meta.url);
    if (!existsSync(folder)) skip("the optional folder ../shared/fixtures is not there");
    const codes = new Map<string, number>();
    for (const name of readdirSync(folder)) {
      try {
        const config = parseModelConfig(
          parseStrictJson(readFileSync(new URL(name, folder), "utf8"), { path: name }),
          name,
        );
        expect(ARCHITECTURES).toContain(config.architecture);
        codes.set("ok", (codes.get("ok") ?? 0) + 1);
      } catch (error) {
        const { code } = error as { code?: string };
        expect(["CONFIG_INVALID", "ARCHITECTURE_UNSUPPORTED", "JSON_INVALID"], `${name}: ${String(error)}`).toContain(
          code,
        );
        codes.set(code!, (codes.get(code!) ?? 0) + 1);
      }
    }
    expect([...codes.keys()].sort()).toEqual(["ARCHITECTURE_UNSUPPORTED", "CONFIG_INVALID", "JSON_INVALID", "ok"]);
  });
});
