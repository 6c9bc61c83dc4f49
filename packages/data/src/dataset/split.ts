import { siteId } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import { permute } from "../mixture/feistel.ts";
import { duplicateRows } from "../quality/duplicates.ts";
import type { Example } from "../tokenize/example.ts";

export interface Split {
  readonly train: Example[];
  readonly eval: Example[];
  readonly test: Example[];
}

/**
 * Holds rows back, per task: the nearest whole number of rows to `share · rows`, at least one, chosen by (seed, task). All
 * blocks of one text go the same way, and so do rows that say the same: a group of duplicates is held back as a whole or
 * not at all. A group too large for what is left of a share is passed over. Order within each part is the order given.
 *
 * @param options.alike - groups of rows besides exact duplicates that must not straddle, say near duplicates
 * @param options.evalSplit - 0 < share < 1, or undefined for none; likewise `testSplit`
 * @throws DataError `SPLIT_INVALID` for a bad share or a task with too few rows to leave one for training
 */
export function splitExamples(
  examples: readonly Example[],
  options: {
    evalSplit?: number | undefined;
    testSplit?: number | undefined;
    seed: number;
    alike?: readonly (readonly number[])[] | undefined;
  },
): Split {
  for (const [key, share] of [
    ["eval_split", options.evalSplit],
    ["test_split", options.testSplit],
  ] as const) {
    if (share === undefined || (share > 0 && share < 1)) continue;
    throw new DataError("SPLIT_INVALID", `${key} is ${share}`, {
      expected: "a share between 0 and 1",
      received: String(share),
    });
  }
  const parts = (["eval", "test"] as const).flatMap((part) => {
    const share = part === "eval" ? options.evalSplit : options.testSplit;
    return share === undefined ? [] : [{ part, share }];
  });
  if (parts.length === 0) return { train: [...examples], eval: [], test: [] };

  const rowsOfTask = new Map<string, number[]>();
  for (const { task, row } of examples) {
    const rows = rowsOfTask.get(task);
    if (rows === undefined) rowsOfTask.set(task, [row]);
    else if (rows.at(-1) !== row) rows.push(row);
  }
  const groups = joined([...duplicateRows(examples), ...(options.alike ?? [])]);
  const heldBack = new Map<number, "eval" | "test">();
  for (const [task, rows] of rowsOfTask) {
    const own = new Set(rows);
    const groupOf = (row: number): readonly number[] => groups.get(row) ?? [row];
    const size = (row: number): number => groupOf(row).filter((other) => own.has(other)).length;
    const key = { seed: options.seed, site: siteId(task, "split"), index: 0 };
    const order = rows.map((_, i) => rows[permute(i, rows.length, key)]!);
    for (const { part, share } of parts) {
      const open = order.filter((row) => !heldBack.has(row));
      const hold = (row: number): void => groupOf(row).forEach((other) => heldBack.set(other, part));
      let wanted = Math.max(1, Math.round(share * rows.length));
      wanted -= rows.filter((row) => heldBack.get(row) === part).length; // as duplicates of another task's rows
      const before = wanted;
      for (const row of open) {
        if (heldBack.has(row) || size(row) > wanted) continue;
        wanted -= size(row);
        hold(row);
      }
      const smallest = open.toSorted((a, b) => size(a) - size(b))[0];
      if (wanted === before && wanted > 0 && smallest !== undefined) hold(smallest);
    }
  }
  for (const [task, rows] of rowsOfTask) {
    const has = new Set(rows.map((row) => heldBack.get(row) ?? "train"));
    if (has.size === parts.length + 1) continue;
    throw new DataError(
      "SPLIT_INVALID",
      `task ${JSON.stringify(task)} has ${rows.length} rows, too few different ones to hold some back`,
      {
        expected: `at least ${parts.length + 1} rows that are not duplicates of each other`,
        received: `${rows.length} rows`,
        fix: "add rows, or name an eval file with data.eval",
      },
    );
  }
  const split: Split = { train: [], eval: [], test: [] };
  for (const example of examples) split[heldBack.get(example.row) ?? "train"].push(example);
  return split;
}

/** Overlapping groups of rows as one each, by row. */
function joined(groups: readonly (readonly number[])[]): Map<number, readonly number[]> {
  const groupOf = new Map<number, readonly number[]>();
  for (const group of groups) {
    const all = [...new Set(group.flatMap((row) => [row, ...(groupOf.get(row) ?? [])]))];
    for (const row of all) groupOf.set(row, all);
  }
  return groupOf;
}
/**
 * @throws DataError `SPLIT_INVALID` where eval rows are both named and split off: which of the two counts would be a guess
 */
export function checkSplitSources(options: {
  evalFiles: boolean;
  evalSplit: number | undefined;
  testFiles: boolean;
  testSplit: number | undefined;
}): void {
  for (const [kind, files, share] of [
    ["eval", options.evalFiles, options.evalSplit],
    ["test", options.testFiles, options.testSplit],
  ] as const) {
    if (!files || share === undefined) continue;
    throw new DataError("SPLIT_INVALID", `data.${kind} and data.${kind}_split are both set`, {
      expected: "one of the two",
      received: "both",
      fix: `remove data.${kind} or data.${kind}_split`,
    });
  }
}
