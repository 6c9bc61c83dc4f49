// A short stream of random choices that is a pure function of (seed, site, row): row i of a text never
// depends on the rows before it, so a data set can be cut, extended or made in any order.
import { siteId, uniformInt } from "@tunesmith/core";

/** Random choices for one row; each call takes the next number of that row's stream. */
export interface Draws {
  /** an integer in [0, n) */
  int(n: number): number;
  /** one of `items`, all equally likely; `items` must not be empty */
  pick<T>(items: readonly T[]): T;
}

/**
 * @param seed - data seed, a safe integer ≥ 0
 * @param text - which text is drawn ("base corpus", …): streams of different texts are independent
 * @param row - index of the row, ≥ 0
 */
export function drawsOf(seed: number, text: string, row: number): Draws {
  const site = siteId("examples/demo", text);
  let next = 0;
  const int = (n: number): number => uniformInt(n, seed, site, row, next++);
  return { int, pick: (items) => items[int(items.length)]! };
}
