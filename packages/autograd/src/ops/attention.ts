import {
  attentionBackwardKeyValue,
  attentionBackwardQuery,
  attentionForward,
  attentionSpec,
  attentionStats,
  attentionVectors,
  empty,
  launch,
  MAX_HEAD_DIM,
  ShapeError,
} from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";

/** Which tokens belong together: segments are runs of consecutive tokens of the flat sequence. */
export interface Segments {
  /** `[tokens]`, i32: index of the first token of this token's segment; −1 for padding */
  readonly start: Tensor<"i32">;
  /** `[tokens]`, i32: one past the last token of this token's segment; −1 for padding */
  readonly end: Tensor<"i32">;
}

export interface AttentionOptions {
  readonly segments: Segments;
  readonly heads: number;
  /** divides `heads`; query head h reads key head floor(h · kvHeads / heads) */
  readonly kvHeads: number;
  /** 1 … 256 */
  readonly headDim: number;
  /** multiplies q·k; 1/sqrt(headDim) in most models */
  readonly scale: number;
  /** a query sees this many latest keys, itself among them; unlimited where absent */
  readonly window?: number;
  /** scores become cap · tanh(score / cap) before the softmax; > 0 */
  readonly softCap?: number;
}

/**
 * Causal attention over one flat sequence: `softmax(scale · q·kᵀ) · v`, each query over the keys of its own segment up
 * to itself. Never holds a `[tokens, tokens]` tensor. Rows of padding give 0 and get gradient 0, whatever they hold.
 *
 * @param q - `[tokens, heads · headDim]`, f32
 * @param k - `[tokens, kvHeads · headDim]`, f32
 * @param v - like `k`
 * @returns like `q`
 * @throws {@link ShapeError} if a shape does not fit the options
 * @see Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; grouped queries: Ainslie et al. 2023,
 *   https://arxiv.org/abs/2305.13245; never the whole matrix: Dao 2023, https://arxiv.org/abs/2307.08691; soft caps:
 *   Gemma 2, https://arxiv.org/abs/2408.00118
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { segments, heads, kvHeads, headDim, scale, softCap } = options;
  const tokens = segments.start.size;
  check({ q, k, v }, options);
  const { device } = q;
  const group = heads / kvHeads;
  const shape = { headDim, group, softCap: softCap !== undefined };
  const spec = attentionSpec(device.facts, { rows: "queries", ...shape });
  const vectors = attentionVectors(headDim);
  const params = {
    tokens,
    heads,
    kv_heads: kvHeads,
    vectors,
    four: 4,
    window: Math.min(options.window ?? Infinity, 2 ** 31 - 1),
    ...scoreScale(scale, softCap),
  };
  const out = empty(device, q.shape);
  const lse = empty(device, [tokens, heads]);
  launch(attentionForward, {
    spec,
    params,
    reads: { q, k, v, segment_start: segments.start },
    writes: { out, lse },
  });

  differentiable({ inputs: [q, k, v], outputs: [out] }, ([dout], [wantQ, wantK, wantV]) => {
    const stats = empty(device, [tokens, heads, 2]);
    launch(attentionStats, {
      spec: { headDim },
      params: { rows: tokens * heads, vectors },
      reads: { out, dout: dout!, lse },
      writes: { stats },
    });
    const backwardParams = { ...params, gradient_scale: scale };
    const reads = { q, k, v, dout: dout!, stats };
    let dq: Tensor | undefined;
    let dk: Tensor | undefined;
    let dv: Tensor | undefined;
    if (wantQ) {
      dq = empty(device, q.shape);
      launch(attentionBackwardQuery, {
        spec,
        params: backwardParams,
        reads: { ...reads, segment_start: segments.start },
        writes: { dq },
      });
    }
    if (wantK || wantV) {
      dk = empty(device, k.shape);
      dv = empty(device, v.shape);
      launch(attentionBackwardKeyValue, {
        spec: attentionSpec(device.facts, { rows: "keys", ...shape }),
        params: backwardParams,
        reads: { ...reads, segment_end: segments.end },
        writes: { dk, dv },
      });
    }
    return [dq, dk, dv];
  });
  return out;
}

/** Kernels take exponentials to base 2: the last factor of a score carries log2(e). */
export function scoreScale(scale: number, softCap: number | undefined): { scale: number; cap: number } {
  return softCap === undefined
    ? { scale: scale * Math.LOG2E, cap: 1 }
    : { scale: scale / softCap, cap: softCap * Math.LOG2E };
}

function check(tensors: { q: Tensor; k: Tensor; v: Tensor }, options: AttentionOptions): void {
  const { segments, heads, kvHeads, headDim, window, softCap } = options;
  const tokens = segments.start.size;
  const refuse = (
    arg: string,
    received: readonly number[],
    expected: readonly (number | string)[],
    because: string,
  ): never => {
    throw new ShapeError({ op: "attention", arg, received, expected, because });
  };
  if (!Number.isInteger(headDim) || headDim < 1 || headDim > MAX_HEAD_DIM)
    refuse("headDim", [headDim], [`1 … ${MAX_HEAD_DIM}`], "one lane holds a whole row of a head");
  if (!Number.isInteger(heads / kvHeads) || kvHeads < 1)
    refuse("kvHeads", [kvHeads], [`a divisor of ${heads}`], "every key head serves the same number of query heads");
  if (window !== undefined && !(Number.isInteger(window) && window >= 1))
    refuse("window", [window], ["≥ 1"], "a query always sees itself");
  if (softCap !== undefined && !(softCap > 0)) refuse("softCap", [softCap], ["> 0"], "scores lie between −cap and cap");
  const because = `there are ${tokens} tokens, ${heads} heads and ${kvHeads} key heads of ${headDim}`;
  const expected = {
    q: [tokens, heads * headDim],
    k: [tokens, kvHeads * headDim],
    v: [tokens, kvHeads * headDim],
  };
  for (const name of ["q", "k", "v"] as const)
    if (tensors[name].shape.join() !== expected[name].join())
      refuse(name, tensors[name].shape, expected[name], because);
  if (segments.end.size !== tokens) refuse("segments.end", segments.end.shape, [tokens], "it goes with segments.start");
}
