// config.json of a Hugging Face folder, read strictly, in both spellings (rope_theta / rope_scaling / torch_dtype before
// transformers 5, rope_parameters / dtype since). Whatever would change a number and is not implemented is refused.

import { nearest } from "@tunesmith/core";
import type { JsonObject, JsonValue } from "@tunesmith/core";
import { ModelError } from "./errors.ts";

export const ARCHITECTURES = ["llama", "mistral", "qwen2", "qwen3"] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** Rotary frequencies; `llama3` rescales them by band (Llama 3.1). */
export type RopeConfig =
  | { readonly type: "default"; readonly theta: number }
  | { readonly type: "linear"; readonly theta: number; readonly factor: number }
  | {
      readonly type: "llama3";
      readonly theta: number;
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositions: number;
    };

export interface ModelConfig {
  readonly architecture: Architecture;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rmsNormEps: number;
  readonly maxPositions: number;
  readonly rope: RopeConfig;
  readonly tiedHead: boolean;
  /** biases on q, k, v; on o; on gate, up and down */
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  /** RMSNorm over each head of q and k before the rotation */
  readonly qkNorm: boolean;
  /** query i sees keys i − window + 1 … i, by layer; undefined: all before it */
  readonly windows: readonly (number | undefined)[];
  /** standard deviation of freshly drawn weights */
  readonly initializerRange: number;
  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
}

/**
 * @param json - the parsed file
 * @param path - named in errors
 * @throws ModelError `CONFIG_INVALID`, `ARCHITECTURE_UNSUPPORTED`
 */
export function parseModelConfig(json: JsonValue, path: string): ModelConfig {
  if (!(json instanceof Map))
    throw new ModelError("CONFIG_INVALID", `${path}: a model config is a JSON object`, { path });
  const read = new Reader(json, path);
  const architecture = parseArchitecture(read, path);
  // transformers' key and MLX's
  const quantized = ["quantization_config", "quantization"].find((key) => read.has(key));
  if (quantized !== undefined)
    throw new ModelError(
      "ARCHITECTURE_UNSUPPORTED",
      `${path}: the weights are quantized (${quantized}), which this version does not load`,
      {
        path,
        fix: "use the original 16-bit checkpoint",
      },
    );
  const activation = read.text("hidden_act", "silu");
  if (activation !== "silu") read.unsupported("hidden_act", activation, "silu");

  const hiddenSize = read.int("hidden_size");
  const heads = read.int("num_attention_heads");
  // transformers' defaults for missing keys differ by architecture; where they are surprising the key is required
  const kvHeads = read.int("num_key_value_heads", architecture === "llama" ? heads : undefined);
  if (heads % kvHeads !== 0)
    read.invalid("num_key_value_heads", String(kvHeads), `a divisor of num_attention_heads (${heads})`);
  const headDim = read.int("head_dim", architecture === "qwen3" ? 128 : undefined, () => {
    if (hiddenSize % heads !== 0)
      read.invalid("hidden_size", String(hiddenSize), `a multiple of num_attention_heads (${heads}), or a head_dim`);
    return hiddenSize / heads;
  });
  if (headDim % 2 !== 0) read.invalid("head_dim", String(headDim), "an even number: rotary embedding turns pairs");
  const layers = read.int("num_hidden_layers");
  const llamaBias = architecture === "llama" && read.flag("attention_bias", false);
  const qwen3Bias = architecture === "qwen3" && read.flag("attention_bias", false);

  return {
    architecture,
    vocabSize: read.int("vocab_size"),
    hiddenSize,
    intermediateSize: read.int("intermediate_size"),
    layers,
    heads,
    kvHeads,
    headDim,
    rmsNormEps: read.number("rms_norm_eps", 1e-6),
    maxPositions: read.int("max_position_embeddings"),
    rope: parseRope(read, path),
    tiedHead: read.flag("tie_word_embeddings", false),
    qkvBias: architecture === "qwen2" || llamaBias || qwen3Bias,
    outputBias: llamaBias || qwen3Bias,
    mlpBias: architecture === "llama" && read.flag("mlp_bias", false),
    qkNorm: architecture === "qwen3",
    windows: parseWindows(read, architecture, layers),
    initializerRange: read.number("initializer_range", 0.02),
    bosTokenId: read.has("bos_token_id") ? read.tokenIds("bos_token_id")[0] : undefined,
    eosTokenIds: read.tokenIds("eos_token_id"),
  };
}

function parseArchitecture(read: Reader, path: string): Architecture {
  const type = read.text("model_type");
  const found = ARCHITECTURES.find((a) => a === type);
  if (found) return found;
  const near = nearest(type, ARCHITECTURES);
  const encoder = /bert|electra|deberta|mpnet|t5|bart/.test(type);
  throw new ModelError(
    "ARCHITECTURE_UNSUPPORTED",
    `${path}: model_type "${type}" is not supported${encoder ? ": it is not a decoder-only language model" : ""}`,
    {
      path,
      received: type,
      expected: ARCHITECTURES.join(", "),
      fix: near ? `did you mean ${near}?` : "use a model of a supported architecture",
    },
  );
}

function parseRope(read: Reader, path: string): RopeConfig {
  const parameters = read.object("rope_parameters");
  const scaling = parameters ?? read.object("rope_scaling");
  if (!scaling) return { type: "default", theta: read.number("rope_theta", 10_000) };
  const inner = new Reader(scaling, path, parameters ? "rope_parameters." : "rope_scaling.");
  const theta = inner.has("rope_theta") ? inner.number("rope_theta") : read.number("rope_theta", 10_000);
  const type = inner.has("rope_type") ? inner.text("rope_type") : inner.text("type", "default");
  switch (type) {
    case "default":
      return { type, theta };
    case "linear":
      return { type, theta, factor: inner.number("factor") };
    case "llama3":
      return {
        type,
        theta,
        factor: inner.number("factor"),
        lowFreqFactor: inner.number("low_freq_factor"),
        highFreqFactor: inner.number("high_freq_factor"),
        originalMaxPositions: inner.int("original_max_position_embeddings"),
      };
    default:
      return inner.unsupported("rope_type", type, "default, linear, llama3");
  }
}

function parseWindows(read: Reader, architecture: Architecture, layers: number): (number | undefined)[] {
  // a missing key means transformers' default, null means none
  const window =
    read.mentions("sliding_window") && !read.has("sliding_window") ? undefined : read.int("sliding_window", 4096);
  if (architecture === "llama") return Array.from({ length: layers });
  if (architecture === "mistral") return Array.from({ length: layers }, () => window);
  // qwen: the window counts only when switched on, and then from layer max_window_layers on
  if (!read.flag("use_sliding_window", false)) return Array.from({ length: layers });
  const types = read.list("layer_types");
  const from = read.int("max_window_layers");
  return Array.from({ length: layers }, (_, i) => {
    const sliding = types ? types[i] === "sliding_attention" : i >= from;
    return sliding ? window : undefined;
  });
}

/** Typed access to a JSON object, with the key's full name in errors. `null` counts as absent, as in transformers. */
class Reader {
  readonly #json: JsonObject;
  readonly #path: string;
  readonly #prefix: string;

  constructor(json: JsonObject, path: string, prefix = "") {
    this.#json = json;
    this.#path = path;
    this.#prefix = prefix;
  }

  has(key: string): boolean {
    const value = this.#json.get(key);
    return value !== undefined && value !== null;
  }

  mentions(key: string): boolean {
    return this.#json.has(key);
  }

  int(key: string, fallback?: number, otherwise?: () => number): number {
    if (!this.has(key) && fallback === undefined && otherwise) return otherwise();
    const value = this.number(key, fallback);
    if (!Number.isSafeInteger(value) || value < 1) this.invalid(key, String(value), "an integer ≥ 1");
    return value;
  }

  number(key: string, fallback?: number): number {
    const value = this.#get(key, fallback);
    if (typeof value !== "number" || value < 0) return this.invalid(key, shown(value), "a number ≥ 0");
    return value;
  }

  text(key: string, fallback?: string): string {
    const value = this.#get(key, fallback);
    return typeof value === "string" ? value : this.invalid(key, shown(value), "a string");
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.#get(key, fallback);
    return typeof value === "boolean" ? value : this.invalid(key, shown(value), "true or false");
  }

  object(key: string): JsonObject | undefined {
    if (!this.has(key)) return undefined;
    const value = this.#json.get(key)!;
    return value instanceof Map ? value : this.invalid(key, shown(value), "an object");
  }

  list(key: string): JsonValue[] | undefined {
    if (!this.has(key)) return undefined;
    const value = this.#json.get(key)!;
    return Array.isArray(value) ? value : this.invalid(key, shown(value), "a list");
  }

  /** One id or a list of ids; [] when absent. */
  tokenIds(key: string): number[] {
    if (!this.has(key)) return [];
    const value = this.#json.get(key)!;
    const ids = Array.isArray(value) ? value : [value];
    for (const id of ids)
      if (typeof id !== "number" || !Number.isSafeInteger(id) || id < 0)
        this.invalid(key, shown(value), "a token id or a list of token ids");
    return ids as number[];
  }

  invalid(key: string, received: string, expected: string): never {
    throw new ModelError(
      "CONFIG_INVALID",
      `${this.#path}: ${this.#prefix}${key} is ${received}, expected ${expected}`,
      {
        path: this.#path,
        received,
        expected,
        fix: `correct ${this.#prefix}${key} in the model's config.json, or get the file again from its source`,
      },
    );
  }

  unsupported(key: string, received: string, supported: string): never {
    throw new ModelError(
      "ARCHITECTURE_UNSUPPORTED",
      `${this.#path}: ${this.#prefix}${key} "${received}" is not supported (supported: ${supported})`,
      {
        path: this.#path,
        received,
        expected: supported,
        fix: "use a model without it",
      },
    );
  }

  #get(key: string, fallback: JsonValue | undefined): JsonValue {
    const value = this.#json.get(key);
    if (value !== undefined && value !== null) return value;
    return fallback === undefined ? this.invalid(key, "missing", "a value") : fallback;
  }
}

function shown(value: JsonValue): string {
  return value instanceof Map ? "an object" : JSON.stringify(value);
}
