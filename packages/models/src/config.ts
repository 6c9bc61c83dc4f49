// config.json of a Hugging Face folder, read strictly, in both spellings (rope_theta / rope_scaling / torch_dtype before
// transformers 5, rope_parameters / dtype since). Whatever would change a number and is not implemented is refused.

import { nearest } from "@tunesmith/core";
import type { JsonValue } from "@tunesmith/core";
import { MAX_HEAD_DIM } from "@tunesmith/tensor";
import { architectureOf, ARCHITECTURES } from "./architectures/registry.ts";
import type { ArchitectureName } from "./architectures/registry.ts";
import { whyNoDecoder, whyNoLanguageHead } from "./not-decoders.ts";
import { ConfigReader } from "./config-reader.ts";
import { ModelError } from "./errors.ts";
import type { RopeConfig } from "./rope.ts";

/** `gelu` is the exact form, `gelu_tanh` its approximation. */
export type Activation = "silu" | "gelu" | "gelu_tanh";

/** What a decoder computes: every difference between architectures that is not the shape of a layer. */
export interface ModelConfig {
  readonly architecture: ArchitectureName;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** `rms_offset` multiplies by 1 + weight */
  readonly norm: "rms" | "rms_offset" | "layer";
  readonly normEps: number;
  readonly activation: Activation;
  /** positions the model was made for; where `positionsAreBounded`, none lie beyond */
  readonly maxPositions: number;
  readonly positionsAreBounded: boolean;
  /** positions are rows of a learned table that is added to the embedding */
  readonly learnedPositions: boolean;
  /** rotary embedding by layer; undefined: that layer knows no positions */
  readonly ropes: readonly (RopeConfig | undefined)[];
  /** numbers of each head that the rotary embedding turns; the others pass */
  readonly rotaryDim: number;
  /** query i sees keys i − window + 1 … i, by layer; undefined: all before it */
  readonly windows: readonly (number | undefined)[];
  /** multiplies q·k */
  readonly attentionScale: number;
  /** scores become cap · tanh(score / cap) */
  readonly attentionSoftCap: number | undefined;
  /** logits become cap · tanh(logit / cap) */
  readonly logitSoftCap: number | undefined;
  /** multiplies the embedding */
  readonly embeddingScale: number;
  readonly tiedHead: boolean;
  /** biases on q, k, v; on o; on the projections of the feed-forward part */
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** a norm over each head of q and k before the rotation */
  readonly qkNorm: boolean;
  /** attention and feed-forward part read the same input */
  readonly parallelResidual: boolean;
  /** standard deviation of freshly drawn weights */
  readonly initializerRange: number;
  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
}

/**
 * Features of other designs, and the architectures that know them. Where one is switched on elsewhere, the weights are not
 * what model_type says, even where transformers would pass over the key.
 */
const FEATURES: Readonly<Record<string, readonly ArchitectureName[]>> = {
  add_cross_attention: [],
  alibi: [],
  attention_chunk_size: [],
  attention_multiplier: [],
  attn_logit_softcapping: ["gemma2"],
  attn_temperature_tuning: [],
  clip_qkv: [],
  embedding_multiplier: [],
  final_logit_softcapping: ["gemma2", "gemma3_text"],
  is_encoder_decoder: [],
  kv_lora_rank: [],
  logit_scale: [],
  logits_scaling: [],
  moe_intermediate_size: [],
  n_routed_experts: [],
  no_rope_layers: ["smollm3"],
  num_experts: [],
  num_local_experts: [],
  qk_layernorm: [],
  residual_multiplier: [],
  text_config: [],
  use_bidirectional_attention: [],
  use_qk_norm: [],
  vision_config: [],
};

/**
 * @param json - the parsed file
 * @param path - named in errors
 * @throws ModelError `CONFIG_INVALID`, `ARCHITECTURE_UNSUPPORTED`
 */
export function parseModelConfig(json: JsonValue, path: string): ModelConfig {
  if (!(json instanceof Map))
    throw new ModelError("CONFIG_INVALID", `${path}: a model config is a JSON object`, { path });
  const read = new ConfigReader(json, path);
  const type = read.text("model_type");
  const architecture = architectureOf(type) ?? refuse(type, path);
  for (const [key, known] of Object.entries(FEATURES)) if (!known.includes(architecture.name)) read.off(key);
  refuseOtherHeads(json.get("architectures"), path);
  const config = architecture.parse(read);
  if (config.headDim > MAX_HEAD_DIM)
    read.unsupported("head_dim", String(config.headDim), `heads of up to ${MAX_HEAD_DIM} numbers`);
  return config;
}

function refuse(type: string, path: string): never {
  const because =
    whyNoDecoder(type) ?? (type === "gemma3" ? "it also takes images; its text model alone is gemma3_text" : undefined);
  // a name that is known and refused is no misspelling
  const near = because === undefined ? nearest(type, ARCHITECTURES) : undefined;
  throw unsupported(`model_type "${type}" is not supported${because === undefined ? "" : `: ${because}`}`, {
    path,
    received: type,
    expected: ARCHITECTURES.join(", "),
    fix: near === undefined ? "use a model of a supported architecture" : `did you mean ${near}?`,
  });
}

/** A body that is known may carry another head than that of a language model. */
function refuseOtherHeads(architectures: JsonValue | undefined, path: string): void {
  for (const name of Array.isArray(architectures) ? architectures : []) {
    const because = typeof name === "string" ? whyNoLanguageHead(name) : undefined;
    if (because !== undefined)
      throw unsupported(`architectures names "${String(name)}": ${because}`, {
        path,
        received: String(name),
        expected: "…ForCausalLM",
        fix: "use the language model that it was made from",
      });
  }
}

function unsupported(message: string, { path, ...details }: { path: string } & Record<string, string>): ModelError {
  return new ModelError("ARCHITECTURE_UNSUPPORTED", `${path}: ${message}`, { path, ...details });
}
