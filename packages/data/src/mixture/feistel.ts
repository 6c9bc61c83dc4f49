// A permutation of 0 … n−1 without a table: a balanced Feistel network over the next power of four, walked until the
// value falls below n (cycle-walking: Black & Rogaway 2002, "Ciphers with arbitrary finite domains").

import { philox4x32 } from "@tunesmith/core";

const ROUNDS = 6;

/** What names a permutation: two different keys give unrelated ones. */
export interface PermutationKey {
  /** safe integer ≥ 0 */
  readonly seed: number;
  /** u32: what is permuted, from `siteId` */
  readonly site: number;
  /** u32: which of its permutations, for example the epoch */
  readonly index: number;
}

/**
 * Image of `i` under a pseudo-random permutation of 0 … n−1, in constant time on average.
 * @param n - 1 … 2^32
 */
export function permute(i: number, n: number, key: PermutationKey): number {
  let half = 1; // bits of one half
  while (4 ** half < n) half++;
  const mask = 2 ** half - 1;
  const seed = [key.seed >>> 0, Math.floor(key.seed / 2 ** 32) >>> 0] as const;
  let value = i;
  do {
    let left = Math.floor(value / 2 ** half);
    let right = value % 2 ** half;
    for (let round = 0; round < ROUNDS; round++) {
      const f = philox4x32([right, round, key.site >>> 0, key.index >>> 0], seed)[0] & mask;
      [left, right] = [right, (left ^ f) >>> 0];
    }
    value = left * 2 ** half + right;
  } while (value >= n);
  return value;
}
