import { softmax } from "./softmax.ts";

export interface AttentionOptions {
  /** query heads; head h reads key head floor(h · kvHeads / heads) */
  readonly heads: number;
  /** key and value heads; divides `heads` */
  readonly kvHeads: number;
  readonly headDim: number;
  /** `[tokens]`; tokens see only their own segment, −1 is padding and gives a zero output */
  readonly segmentIds: ArrayLike<number>;
  /** a query sees this many latest keys, itself among them; unlimited where absent */
  readonly window?: number;
  /** multiplies q·k; 1/sqrt(headDim) where absent */
  readonly scale?: number;
  /** scores become cap · tanh(score / cap) before the softmax (Gemma 2, arXiv:2408.00118) */
  readonly softCap?: number;
}

/**
 * Causal attention over one flat sequence of tokens: `softmax(scale · q·kᵀ) · v`, each query over the keys
 * j ≤ i of its own segment with i − j < window (Vaswani et al. 2017, arXiv:1706.03762; grouped queries:
 * Ainslie et al. 2023, arXiv:2305.13245).
 *
 * @param q - `[tokens, heads, headDim]`
 * @param k - `[tokens, kvHeads, headDim]`
 * @param v - `[tokens, kvHeads, headDim]`
 * @returns `[tokens, heads, headDim]`
 */
export function attention(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
  options: AttentionOptions,
): Float64Array {
  const { heads, kvHeads, headDim, segmentIds, window = Infinity, scale = 1 / Math.sqrt(headDim), softCap } = options;
  const tokens = segmentIds.length;
  if (q.length !== tokens * heads * headDim || k.length !== tokens * kvHeads * headDim || v.length !== k.length) {
    throw new RangeError(`attention: q, k, v have ${q.length}, ${k.length}, ${v.length} values for ${tokens} tokens`);
  }
  const out = new Float64Array(q.length);
  for (let i = 0; i < tokens; i++) {
    if (segmentIds[i] === -1) continue;
    const visible: number[] = [];
    for (let j = 0; j <= i; j++) if (segmentIds[j] === segmentIds[i] && i - j < window) visible.push(j);
    for (let head = 0; head < heads; head++) {
      const kvHead = Math.floor((head * kvHeads) / heads);
      const query = (i * heads + head) * headDim;
      const scores = visible.map((j) => {
        let sum = 0;
        for (let d = 0; d < headDim; d++) sum += q[query + d]! * k[(j * kvHeads + kvHead) * headDim + d]!;
        return softCap === undefined ? scale * sum : softCap * Math.tanh((scale * sum) / softCap);
      });
      const weights = softmax(scores, scores.length);
      for (const [at, j] of visible.entries()) {
        for (let d = 0; d < headDim; d++) {
          out[query + d] = out[query + d]! + weights[at]! * v[(j * kvHeads + kvHead) * headDim + d]!;
        }
      }
    }
  }
  return out;
}
