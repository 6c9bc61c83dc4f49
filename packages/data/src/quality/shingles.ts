// Runs of n tokens as hashes. Two runs share a hash by chance once in 2^53.

import type { RowExamples } from "./rows.ts";

const [MULTIPLY_LOW, MULTIPLY_HIGH] = [0x01000193, 0x9e3779b1];

/**
 * The distinct runs of `n` tokens of a row; a shorter row (or block) is one run of its own length.
 * @returns 53-bit integers
 */
export function shingles({ examples }: RowExamples, n: number): Set<number> {
  const found = new Set<number>();
  for (const { inputIds } of examples) {
    const last = Math.max(0, inputIds.length - n);
    for (let at = 0; at <= last; at++) found.add(hashTokens(inputIds.subarray(at, at + n)));
  }
  return found;
}

/** A 53-bit hash of integers: two multiplicative hashes (FNV-1a and its like), finished as in MurmurHash3. */
export function hashTokens(ids: Iterable<number>): number {
  let low = 0x811c9dc5;
  let high = 0x2545f491;
  for (const id of ids) {
    low = Math.imul(low ^ id, MULTIPLY_LOW);
    high = Math.imul((high << 5) ^ (high >>> 27) ^ id, MULTIPLY_HIGH);
  }
  return (mix(high) >>> 11) * 2 ** 32 + (mix(low ^ high) >>> 0);
}

/** Spreads 32 bits over all 32 (the finalizer of MurmurHash3, Appleby). */
export function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/**
 * In how many rows each run occurs, at least: rows are counted in a table of fixed size, so that memory does not grow
 * with the data. Whatever occurs in more than half of the rows is the template's or a shared system prompt and says
 * nothing about a pair of rows.
 */
export class RowCounts {
  readonly #cells = new Uint32Array(1 << 22);
  #rows = 0;

  add(runs: Iterable<number>): void {
    this.#rows++;
    for (const run of runs) this.#cells[run % this.#cells.length]!++;
  }

  /** The runs of a row that are its own. With fewer than four rows everything is. */
  distinctive(runs: ReadonlySet<number>): Set<number> {
    if (this.#rows < 4) return new Set(runs);
    return new Set([...runs].filter((run) => this.#cells[run % this.#cells.length]! * 2 <= this.#rows));
  }
}
