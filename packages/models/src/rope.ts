// Frequencies of the rotary embedding, and how config.json writes them.

import type { ConfigReader } from "./config-reader.ts";

/** Rotary frequencies. Beyond the plain ones: rescaled so that a model reads further than it was first trained. */
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
    }
  | {
      readonly type: "yarn";
      readonly theta: number;
      readonly factor: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly truncate: boolean;
      readonly originalMaxPositions: number;
      /** multiplies cosines and sines */
      readonly attentionFactor: number;
    }
  | {
      readonly type: "longrope";
      readonly theta: number;
      /** divide the frequencies of sequences of up to `originalMaxPositions`, `[rotaryDim / 2]` */
      readonly shortFactor: readonly number[];
      readonly originalMaxPositions: number;
      readonly attentionFactor: number;
    };

interface RopeOptions {
  /** where neither spelling gives one */
  readonly theta: number;
  readonly maxPositions: number;
  readonly rotaryDim: number;
  /** names that mean another type in this architecture */
  readonly alias?: Readonly<Record<string, RopeConfig["type"]>>;
}

/** `rope_parameters`, or `rope_scaling` beside `rope_theta`. */
export function parseRope(read: ConfigReader, options: RopeOptions): RopeConfig {
  const inner = read.within("rope_parameters") ?? read.within("rope_scaling");
  const theta = read.positive("rope_theta", options.theta);
  return inner ? parseRopeParameters(inner, read, { ...options, theta }) : { type: "default", theta };
}

/** One set of parameters; `outer` is the file around it. */
export function parseRopeParameters(read: ConfigReader, outer: ConfigReader, options: RopeOptions): RopeConfig {
  const theta = read.positive("rope_theta", options.theta);
  const name = read.has("rope_type") ? read.text("rope_type") : read.text("type", "default");
  const type = options.alias?.[name] ?? name;
  // outside the parameters it has priority, as in transformers
  const original = (): number =>
    outer.int("original_max_position_embeddings", undefined, () =>
      read.int("original_max_position_embeddings", options.maxPositions),
    );
  const scale = (from: number): number => (read.has("factor") ? read.positive("factor") : options.maxPositions / from);
  switch (type) {
    case "default":
      return { type, theta };
    case "linear":
      return { type, theta, factor: read.positive("factor") };
    case "llama3":
      return {
        type,
        theta,
        factor: read.positive("factor"),
        lowFreqFactor: read.positive("low_freq_factor"),
        highFreqFactor: read.positive("high_freq_factor"),
        originalMaxPositions: original(),
      };
    case "yarn": {
      const originalMaxPositions = original();
      const factor = scale(originalMaxPositions);
      return {
        type,
        theta,
        factor,
        betaFast: read.positive("beta_fast", 32),
        betaSlow: read.positive("beta_slow", 1),
        truncate: read.flag("truncate", true),
        originalMaxPositions,
        attentionFactor: yarnAttentionFactor(read, factor),
      };
    }
    case "longrope": {
      const originalMaxPositions = original();
      const factor = scale(originalMaxPositions);
      return {
        type,
        theta,
        shortFactor: read.numbers("short_factor", options.rotaryDim / 2),
        originalMaxPositions,
        attentionFactor: read.number(
          "attention_factor",
          factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxPositions)),
        ),
      };
    }
    default:
      return read.unsupported("rope_type", name, "default, linear, llama3, yarn, longrope");
  }
}

/** @see Peng et al. 2023, "YaRN", https://arxiv.org/abs/2309.00071, section 3.4; the mscale keys are DeepSeek's */
function yarnAttentionFactor(read: ConfigReader, factor: number): number {
  if (read.has("attention_factor")) return read.number("attention_factor");
  const of = (scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  const [above, below] = ["mscale", "mscale_all_dim"].map((key) => read.number(key, 0));
  return above && below ? of(above) / of(below) : of(1);
}

/** Multiplies cosines and sines. */
export function rotaryScale(rope: RopeConfig): number {
  return rope.type === "yarn" || rope.type === "longrope" ? rope.attentionFactor : 1;
}

/**
 * Inverse frequencies of the rotary embedding in float64, `[dim / 2]`; longrope's are those of sequences within its
 * original context.
 * @param dim - numbers of each head that turn
 * @see Su et al. 2021, https://arxiv.org/abs/2104.09864; the llama3 bands: Llama 3.1 release, as in transformers'
 *   `_compute_llama3_parameters`; yarn: Peng et al. 2023, https://arxiv.org/abs/2309.00071; longrope: Ding et al. 2024,
 *   https://arxiv.org/abs/2402.13753
 */
export function inverseFrequencies(rope: RopeConfig, dim: number): Float64Array {
  const base = Float64Array.from({ length: dim / 2 }, (_, i) => rope.theta ** ((-2 * i) / dim));
  switch (rope.type) {
    case "default":
      return base;
    case "linear":
      return base.map((f) => f / rope.factor);
    case "llama3":
      return base.map((f) => {
        const wavelength = (2 * Math.PI) / f;
        const { factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositions: original } = rope;
        if (wavelength < original / high) return f;
        if (wavelength > original / low) return f / factor;
        const smooth = (original / wavelength - low) / (high - low);
        return ((1 - smooth) * f) / factor + smooth * f;
      });
    case "yarn": {
      // the pair that turns this often within the original context
      const pairOf = (turns: number): number =>
        (dim * Math.log(rope.originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(rope.theta));
      const round = rope.truncate ? [Math.floor, Math.ceil] : [Number, Number];
      const low = Math.max(round[0]!(pairOf(rope.betaFast)), 0);
      const high = Math.min(round[1]!(pairOf(rope.betaSlow)), dim - 1);
      const width = high === low ? 0.001 : high - low;
      return base.map((f, i) => {
        const slow = Math.min(1, Math.max(0, (i - low) / width));
        return (f / rope.factor) * slow + f * (1 - slow);
      });
    }
    case "longrope":
      return base.map((f, i) => f / rope.shortFactor[i]!);
    default:
      return rope satisfies never;
  }
}
