// What the files of architectures share when they read config.json.

import type { OuterNames } from "../architecture.ts";
import type { Activation, ModelConfig } from "../config.ts";
import type { ConfigReader } from "../config-reader.ts";
import { parseRope } from "../rope.ts";
import type { RopeConfig } from "../rope.ts";

/** Llama's names, which most architectures after it kept. */
export const MODEL_NAMES: OuterNames = {
  prefix: "model.",
  embedding: "model.embed_tokens",
  layers: "model.layers",
  norm: "model.norm",
  head: "lm_head",
  ignored: /\.rotary_emb\.inv_freq$/,
};

const ACTIVATIONS: ReadonlyMap<string, Activation> = new Map([
  ["silu", "silu"],
  ["swish", "silu"],
  ["gelu", "gelu"],
  // three ways to write the same formula
  ["gelu_new", "gelu_tanh"],
  ["gelu_fast", "gelu_tanh"],
  ["gelu_pytorch_tanh", "gelu_tanh"],
]);

/** The activation under `key`, one of `supported`. */
export function parseActivation(
  read: ConfigReader,
  key: string,
  fallback: string,
  supported: readonly Activation[],
): Activation {
  const name = read.text(key, fallback);
  const known = ACTIVATIONS.get(name);
  if (known !== undefined && supported.includes(known)) return known;
  const names = [...ACTIVATIONS].filter(([, activation]) => supported.includes(activation)).map(([text]) => text);
  return read.unsupported(key, name, names.join(", "));
}

/** The same for all layers, or by layer. */
export function perLayer<T>(layers: number, of: (layer: number) => T): T[] {
  return Array.from({ length: layers }, (_, i) => of(i));
}

/** Keys that Llama and everything made like it name the same way. Callers override what differs. */
export function parseCommon(
  read: ConfigReader,
  options: {
    architecture: ModelConfig["architecture"];
    /** undefined where a missing key must be an error */
    kvHeads?: (heads: number) => number;
    headDim?: number;
    tiedHead?: boolean;
    ropeTheta?: number;
    /** part of each head that turns where the file does not say; undefined: the architecture always turns all */
    rotaryPart?: number;
    ropeAlias?: Readonly<Record<string, RopeConfig["type"]>>;
  },
): ModelConfig {
  const hiddenSize = read.int("hidden_size");
  const heads = read.int("num_attention_heads");
  // transformers' defaults for missing keys differ by architecture; where they are surprising the key is required
  const kvHeads = read.int("num_key_value_heads", options.kvHeads?.(heads));
  if (heads % kvHeads !== 0)
    read.invalid("num_key_value_heads", String(kvHeads), `a divisor of num_attention_heads (${heads})`);
  const headDim = read.int("head_dim", options.headDim, () => headDimOf(read, hiddenSize, heads));
  const layers = read.int("num_hidden_layers");
  const maxPositions = read.int("max_position_embeddings");
  return {
    architecture: options.architecture,
    vocabSize: read.int("vocab_size"),
    hiddenSize,
    intermediateSize: read.int("intermediate_size"),
    layers,
    heads,
    kvHeads,
    headDim,
    norm: "rms",
    normEps: read.number("rms_norm_eps", 1e-6),
    activation: "silu",
    learnedPositions: false,
    attentionScale: headDim ** -0.5,
    attentionSoftCap: undefined,
    logitSoftCap: undefined,
    embeddingScale: 1,
    tiedHead: read.flag("tie_word_embeddings", options.tiedHead ?? false),
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    qkNorm: false,
    parallelResidual: false,
    windows: perLayer(layers, () => undefined),
    ...parseTokens(read),
    ...parseRotary(read, { ...options, layers, headDim, maxPositions }),
  };
}

/** How the rotary embedding of all layers is read; `options` as for {@link parseCommon}. */
export function parseRotary(
  read: ConfigReader,
  options: {
    readonly layers: number;
    readonly headDim: number;
    readonly maxPositions: number;
    readonly ropeTheta?: number;
    readonly rotaryPart?: number;
    readonly ropeAlias?: Readonly<Record<string, RopeConfig["type"]>>;
  },
): Pick<ModelConfig, "ropes" | "rotaryDim" | "maxPositions" | "positionsAreBounded"> {
  const { layers, headDim, maxPositions, rotaryPart } = options;
  const within = read.within("rope_parameters");
  const key = "partial_rotary_factor";
  const part = (within?.has(key) ? within : read).number(key, rotaryPart ?? 1);
  if (rotaryPart === undefined && part !== 1) read.unsupported(key, String(part), "1 in this architecture");
  const rotaryDim = Math.trunc(headDim * part);
  if (rotaryDim % 2 !== 0 || rotaryDim < 2 || rotaryDim > headDim)
    read.invalid("head_dim", String(headDim), "an even number: rotary embedding turns pairs");
  const rope = parseRope(read, {
    theta: options.ropeTheta ?? 10_000,
    maxPositions,
    rotaryDim,
    ...(options.ropeAlias ? { alias: options.ropeAlias } : {}),
  });
  // beyond, other frequencies count for the whole sequence, also for what was read and cached with these
  const bounded = rope.type === "longrope" && rope.originalMaxPositions < maxPositions;
  return {
    ropes: perLayer(layers, () => rope),
    rotaryDim,
    maxPositions: bounded ? rope.originalMaxPositions : maxPositions,
    positionsAreBounded: bounded,
  };
}

/** `layer_types`, if the file has them: which layers slide. */
export function parseSliding(read: ConfigReader, layers: number): boolean[] | undefined {
  const types = read.list("layer_types");
  if (!types) return undefined;
  if (types.length !== layers)
    read.invalid("layer_types", `a list of ${types.length}`, `one entry for each of ${layers} layers`);
  return types.map((type) => {
    if (type !== "sliding_attention" && type !== "full_attention")
      read.unsupported("layer_types", String(type), "full_attention, sliding_attention");
    return type === "sliding_attention";
  });
}

/** A missing window means `fallback`, null means none. */
export function parseWindow(read: ConfigReader, fallback: number): number | undefined {
  return read.mentions("sliding_window") && !read.has("sliding_window")
    ? undefined
    : read.int("sliding_window", fallback);
}

/** Begin and end of a text, and how weights are drawn. */
export function parseTokens(read: ConfigReader): Pick<ModelConfig, "initializerRange" | "bosTokenId" | "eosTokenIds"> {
  return {
    initializerRange: read.number("initializer_range", 0.02),
    bosTokenId: read.has("bos_token_id") ? read.tokenIds("bos_token_id")[0] : undefined,
    eosTokenIds: read.tokenIds("eos_token_id"),
  };
}

/** Size of a head where the file does not say. */
export function headDimOf(read: ConfigReader, hiddenSize: number, heads: number): number {
  if (hiddenSize % heads !== 0)
    read.invalid("hidden_size", String(hiddenSize), `a multiple of the number of heads (${heads}), or a head_dim`);
  return hiddenSize / heads;
}
