import {
  attentionVectors,
  cacheKeysValues,
  decodeMerge,
  decodeSplits,
  empty,
  KEYS_PER_SPLIT,
  launch,
  ShapeError,
} from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { scoreScale } from "./attention.ts";

/** Keys and values of one layer for a number of rows that are being generated. */
export interface LayerCache {
  /** `[rows · capacity, kvHeads · headDim]`, f32: row r, position p at r · capacity + p */
  readonly keys: Tensor;
  /** like `keys` */
  readonly values: Tensor;
  /** positions per row */
  readonly capacity: number;
}

export interface CachedAttentionOptions {
  /** `[rows]`, i32: filled positions of each row, the new token's among them; 0 = idle row */
  readonly lengths: Tensor<"i32">;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** multiplies q·k */
  readonly scale: number;
  /** a query sees this many latest keys, itself among them; unlimited where absent */
  readonly window?: number;
  /** scores become cap · tanh(score / cap) before the softmax; > 0 */
  readonly softCap?: number;
}

/**
 * Attention of the newest token of each row over what its cache holds; the same as `attention` over the whole row.
 * Lengths are data: one recorded step serves every length up to the capacity. Not differentiable.
 *
 * @param q - `[rows, heads · headDim]`, f32
 * @returns like `q`; 0 for idle rows
 * @throws {@link ShapeError} if a shape does not fit the options
 */
export function cachedAttention(q: Tensor, cache: LayerCache, options: CachedAttentionOptions): Tensor {
  const { lengths, heads, kvHeads, headDim, scale, window, softCap } = options;
  const rows = lengths.size;
  check("cachedAttention", "q", q, [rows, heads * headDim], `there are ${rows} rows and ${heads} heads of ${headDim}`);
  checkCache("cachedAttention", cache, [rows * cache.capacity, kvHeads * headDim]);
  const splits = Math.ceil(cache.capacity / KEYS_PER_SPLIT);
  const sizes = {
    rows,
    heads,
    vectors: attentionVectors(headDim),
    capacity: cache.capacity,
    splits,
    window: window ?? 0,
  };
  const mixed = empty(q.device, [rows * heads, splits, headDim]);
  const tops = empty(q.device, [rows * heads, splits, 2]);
  launch(decodeSplits, {
    spec: { headDim, softCap: softCap !== undefined },
    params: { ...sizes, kv_heads: kvHeads, ...scoreScale(scale, softCap) },
    reads: { q, cache_k: cache.keys, cache_v: cache.values, lengths },
    writes: { mixed, tops },
  });
  const out = empty(q.device, q.shape);
  launch(decodeMerge, { spec: { headDim }, params: sizes, reads: { mixed, tops, lengths }, writes: { out } });
  return out;
}

/**
 * Writes keys and values of tokens into the cache of their layer: the prompts of all rows as one flat sequence, or one
 * new token per row.
 *
 * @param k - `[tokens, kvHeads · headDim]`, f32
 * @param v - like `k`
 * @param slots - `[tokens]`, i32: row · capacity + position of each token; −1 leaves the token out
 * @throws {@link ShapeError} if a shape does not fit
 */
export function storeKeysValues(k: Tensor, v: Tensor, cache: LayerCache, slots: Tensor<"i32">): void {
  const width = cache.keys.shape.at(-1)!;
  for (const [arg, tensor] of Object.entries({ k, v }))
    check("storeKeysValues", arg, tensor, [slots.size, width], `there are ${slots.size} slots of ${width} numbers`);
  checkCache("storeKeysValues", cache, cache.keys.shape);
  launch(cacheKeysValues, {
    params: { count: slots.size, width },
    reads: { k, v, slots },
    updates: { cache_k: cache.keys, cache_v: cache.values },
  });
}

function checkCache(op: string, cache: LayerCache, expected: readonly number[]): void {
  const because = "a cache has a row per (row, position) and a number per key head and dimension";
  check(op, "keys", cache.keys, expected, because);
  check(op, "values", cache.values, expected, because);
}

function check(op: string, arg: string, tensor: Tensor, expected: readonly number[], because: string): void {
  if (tensor.shape.join() !== expected.join())
    throw new ShapeError({ op, arg, received: tensor.shape, expected, because });
}
