// From one row of logits to the next token, on the host in float64: the processors of transformers' generate() in its
// order (repetition penalty, temperature, top-k, top-p), then a draw from the counter generator.

import { siteId, uniform } from "@tunesmith/core";

export interface SamplingOptions {
  /** 0 takes the most likely token */
  readonly temperature: number;
  /** keep the k most likely tokens and whatever ties with the k-th; 0 keeps all */
  readonly topK: number;
  /** keep the smallest set of most likely tokens whose probabilities reach p; 1 keeps all */
  readonly topP: number;
  /** > 1 discourages tokens that occurred; 1 leaves logits alone */
  readonly repetitionPenalty: number;
}

/** Logits after the processors, in float64; removed tokens are −∞. `previous` is the prompt and what was generated. */
export function processLogits(
  logits: Float32Array | Float64Array,
  previous: Iterable<number>,
  options: SamplingOptions,
): Float64Array {
  const out = Float64Array.from(logits);
  const { temperature, topK, topP, repetitionPenalty } = options;
  if (repetitionPenalty !== 1)
    for (const id of new Set(previous))
      out[id] = out[id]! > 0 ? out[id]! / repetitionPenalty : out[id]! * repetitionPenalty;
  if (temperature !== 0 && temperature !== 1) for (let i = 0; i < out.length; i++) out[i] = out[i]! / temperature;
  if (topK > 0 && topK < out.length) {
    const kth = Float64Array.from(out).sort()[out.length - topK]!;
    for (let i = 0; i < out.length; i++) if (out[i]! < kth) out[i] = -Infinity;
  }
  if (topP < 1) {
    // ascending, as transformers does: drop from the bottom while what is dropped stays within 1 − p; the top stays
    const order = Array.from(out.keys()).sort((a, b) => out[a]! - out[b]! || a - b);
    const p = softmax(out);
    let dropped = 0;
    for (const id of order.slice(0, -1)) {
      dropped += p[id]!;
      if (dropped > 1 - topP) break;
      out[id] = -Infinity;
    }
  }
  return out;
}

/**
 * The next token.
 * @param at - (seed, row, step): the draw is a pure function of it
 */
export function sample(
  logits: Float32Array,
  previous: Iterable<number>,
  options: SamplingOptions,
  at: { seed: number; row: number; step: number },
): number {
  const processed = processLogits(logits, previous, options);
  if (options.temperature === 0) return argmax(processed);
  const p = softmax(processed);
  let left = uniform(at.seed, siteId("generate", "sample"), at.step, at.row);
  for (let i = 0; i < p.length; i++) {
    left -= p[i]!;
    if (left < 0) return i;
  }
  return argmax(processed); // rounding left a crumb
}

function argmax(values: Float64Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

function softmax(logits: Float64Array): Float64Array {
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const e = logits.map((v) => Math.exp(v - max));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
}
