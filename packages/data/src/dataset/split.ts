import { siteId } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import { permute } from "../mixture/feistel.ts";
import type { Example } from "../tokenize/example.ts";

export interface Split {
  readonly train: Example[];
  readonly eval: Example[];
  readonly test: Example[];
}

/**
 * Holds rows back, per task: the nearest whole number of rows to `share · rows`, at least one, chosen by (seed, task). All
 * blocks of one text go the same way; order within each part is the order given.
 *
 * @param options.evalSplit - 0 < share < 1, or undefined for none; likewise `testSplit`
 * @throws DataError `SPLIT_INVALID` for a bad share or a task with too few rows to leave one for training
 */
export function splitExamples(
  examples: readonly Example[],
  options: { evalSplit?: number | undefined; testSplit?: number | undefined; seed: number },
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
  const rowsOfTask = new Map<string, number[]>();
  for (const { task, row } of examples) {
    const rows = rowsOfTask.get(task);
    if (rows === undefined) rowsOfTask.set(task, [row]);
    else if (rows.at(-1) !== row) rows.push(row);
  }
  const heldBack = new Map<number, "eval" | "test">();
  for (const [task, rows] of rowsOfTask) {
    const count = (share: number | undefined): number =>
      share === undefined ? 0 : Math.max(1, Math.round(share * rows.length));
    const evalRows = count(options.evalSplit);
    const testRows = count(options.testSplit);
    if (evalRows + testRows >= rows.length) {
      throw new DataError(
        "SPLIT_INVALID",
        `task ${JSON.stringify(task)} has ${rows.length} rows, too few to hold some back`,
        {
          expected: `more than ${evalRows + testRows} rows`,
          received: String(rows.length),
          fix: "add rows, lower the split, or name an eval file with data.eval",
        },
      );
    }
    for (let i = 0; i < evalRows + testRows; i++) {
      const chosen = rows[permute(i, rows.length, { seed: options.seed, site: siteId(task, "split"), index: 0 })]!;
      heldBack.set(chosen, i < evalRows ? "eval" : "test");
    }
  }
  const split: Split = { train: [], eval: [], test: [] };
  for (const example of examples) split[heldBack.get(example.row) ?? "train"].push(example);
  return split;
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
