// Rows that say the same: exactly, or nearly by MinHash (Broder 1997) with locality-sensitive hashing.

import { philox4x32 } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import type { Example } from "../tokenize/example.ts";
import { type RowExamples, rowsOf } from "./rows.ts";
import { hashTokens, mix, RowCounts, shingles } from "./shingles.ts";

/** Tokens of a run. */
const RUN = 5;
/** 21 bands of 6 minima: a pair as alike as 0.8 is found with 99.8 %, one of 0.5 becomes a candidate with 28 %. */
const BANDS = 21;
const BAND = 6;

/** Groups of rows with the same tokens and the same targets, each ascending, whatever their tasks. */
export function duplicateRows(examples: readonly Example[]): number[][] {
  const byHash = new Map<number, RowExamples[][]>();
  for (const row of rowsOf(examples)) {
    const hash = hashTokens(row.examples.flatMap(({ inputIds }) => [...inputIds]));
    const groups = byHash.get(hash) ?? [];
    byHash.set(hash, groups);
    const same = groups.find(([first]) => equalRows(first!, row));
    if (same) same.push(row);
    else groups.push([row]);
  }
  return [...byHash.values()].flat().flatMap((group) => (group.length > 1 ? [group.map(({ row }) => row)] : []));
}

function equalRows(a: RowExamples, b: RowExamples): boolean {
  const equal = (x: Int32Array, y: Int32Array): boolean => x.length === y.length && x.every((v, i) => v === y[i]);
  return (
    a.examples.length === b.examples.length &&
    a.examples.every(
      ({ inputIds, targets }, i) => equal(inputIds, b.examples[i]!.inputIds) && equal(targets, b.examples[i]!.targets),
    )
  );
}

/**
 * Groups of rows that are much alike: chains of pairs whose runs of 5 tokens have a Jaccard index of at least `threshold`,
 * leaving out what more than half of all rows contain. Candidates are found by MinHash, so a pair near the threshold may
 * be missed (0.2 % at 0.8); a pair that is reported was compared in full.
 *
 * @param threshold - 0.5 … 1
 * @throws DataError `VALUE_INVALID` for another threshold
 */
export function nearDuplicateRows(examples: readonly Example[], threshold: number): number[][] {
  if (!(threshold >= 0.5 && threshold <= 1)) {
    throw new DataError("VALUE_INVALID", `near duplicates: the threshold is ${threshold}`, {
      expected: "0.5 to 1",
      received: String(threshold),
    });
  }
  const rows = rowsOf(examples);
  const counts = new RowCounts();
  for (const row of rows) counts.add(shingles(row, RUN));
  const runsOf = (index: number): Set<number> => counts.distinctive(shingles(rows[index]!, RUN));

  const hashes = minHashes();
  const signatures = rows.map((_, index) => {
    const runs = runsOf(index);
    return runs.size === 0 ? undefined : signature(runs, hashes);
  });
  const groups = new Groups(rows.length);
  for (let band = 0; band < BANDS; band++) {
    const buckets = new Map<string, number[]>(); // of rows that are not known to be alike
    for (const [index, minima] of signatures.entries()) {
      if (minima === undefined) continue;
      const key = minima.subarray(band * BAND, (band + 1) * BAND).join();
      const bucket = buckets.get(key);
      if (bucket === undefined) buckets.set(key, [index]);
      else if (!bucket.some((other) => groups.joined(other, index))) {
        const runs = runsOf(index);
        const alike = bucket.find((other) => jaccard(runsOf(other), runs) >= threshold);
        if (alike === undefined) bucket.push(index);
        else groups.join(alike, index);
      }
    }
  }
  return groups.list().map((group) => group.map((index) => rows[index]!.row));
}

function minHashes(): readonly (readonly [multiply: number, add: number])[] {
  return Array.from({ length: BANDS * BAND }, (_, i) => {
    const [multiply, add] = philox4x32([i, 0, 0, 0], [0, 0]);
    return [multiply | 1, add] as const;
  });
}

function signature(runs: ReadonlySet<number>, hashes: ReturnType<typeof minHashes>): Uint32Array {
  const minima = new Uint32Array(hashes.length).fill(0xffffffff);
  for (const run of runs) {
    const folded = mix((run % 2 ** 32) ^ Math.floor(run / 2 ** 32));
    for (let i = 0; i < hashes.length; i++) {
      const value = Math.imul(folded + hashes[i]![1], hashes[i]![0]) >>> 0;
      if (value < minima[i]!) minima[i] = value;
    }
  }
  return minima;
}

function jaccard(a: ReadonlySet<number>, b: ReadonlySet<number>): number {
  let both = 0;
  for (const run of a) if (b.has(run)) both++;
  return both / (a.size + b.size - both);
}

/** Union-find; the root of a group is its first member. */
class Groups {
  readonly #parent: Int32Array;

  constructor(count: number) {
    this.#parent = Int32Array.from({ length: count }, (_, i) => i);
  }
  #root(i: number): number {
    while (this.#parent[i] !== i) i = this.#parent[i] = this.#parent[this.#parent[i]!]!;
    return i;
  }
  joined(a: number, b: number): boolean {
    return this.#root(a) === this.#root(b);
  }
  join(a: number, b: number): void {
    const [x, y] = [this.#root(a), this.#root(b)];
    this.#parent[Math.max(x, y)] = Math.min(x, y);
  }
  /** groups of two and more, members ascending */
  list(): number[][] {
    const groups = new Map<number, number[]>();
    for (const i of this.#parent.keys()) {
      const group = groups.get(this.#root(i));
      if (group) group.push(i);
      else groups.set(this.#root(i), [i]);
    }
    return [...groups.values()].filter((group) => group.length > 1);
  }
}
