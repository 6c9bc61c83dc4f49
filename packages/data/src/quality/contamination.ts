import type { Example } from "../tokenize/example.ts";
import { rowsOf } from "./rows.ts";
import { hashTokens, RowCounts, shingles } from "./shingles.ts";

/** Tokens of a run, as in the checks of GPT-3 (Brown et al. 2020, appendix C). */
const RUN = 13;
/** Share of a held-out row's runs that one training row must contain. */
const SHARE = 0.8;

/** A training row that gives a held-out row away. */
export interface Leak {
  /** row of the held-out examples */
  readonly heldRow: number;
  /** row of the training examples */
  readonly trainRow: number;
}

/**
 * Held-out rows that training rows contain: the same tokens, or at least 80 % of the row's runs of 13 tokens, leaving out
 * runs that more than half of all rows contain. Whatever score such rows get measures memory.
 */
export function contamination(train: readonly Example[], held: readonly Example[]): Leak[] {
  const [trainRows, heldRows] = [rowsOf(train), rowsOf(held)];
  const counts = new RowCounts();
  for (const row of [...trainRows, ...heldRows]) counts.add(shingles(row, RUN));

  const heldByRun = new Map<number, number[]>();
  const heldByText = new Map<number, number[]>();
  const sizes = heldRows.map((row, index) => {
    const runs = counts.distinctive(shingles(row, RUN));
    for (const run of runs) put(heldByRun, run, index);
    put(heldByText, textHash(row.examples), index);
    return runs.size;
  });
  const leaks: Leak[] = [];
  for (const row of trainRows) {
    const leaking = new Set(heldByText.get(textHash(row.examples)));
    const shared = new Map<number, number>();
    for (const run of shingles(row, RUN))
      for (const index of heldByRun.get(run) ?? []) shared.set(index, (shared.get(index) ?? 0) + 1);
    for (const [index, count] of shared) if (count >= SHARE * sizes[index]!) leaking.add(index);
    for (const index of leaking) leaks.push({ heldRow: heldRows[index]!.row, trainRow: row.row });
  }
  return leaks;
}

function textHash(examples: readonly Example[]): number {
  return hashTokens(examples.flatMap(({ inputIds }) => [...inputIds]));
}

function put(map: Map<number, number[]>, key: number, value: number): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
