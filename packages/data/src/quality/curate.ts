// What a dataset repeats, and what training shows of the rows held back from it: reported, or taken out.

import { DataError } from "../errors.ts";
import type { Example } from "../tokenize/example.ts";
import { contamination } from "./contamination.ts";
import { duplicateRows, nearDuplicateRows } from "./duplicates.ts";
import { rowsOf, withoutRows } from "./rows.ts";

export const DUPLICATES = ["report", "drop"] as const;
export const NEAR_DUPLICATES = ["none", "report", "drop"] as const;
export const CONTAMINATION = ["report", "drop", "error", "none"] as const;

export interface CurateOptions {
  readonly duplicates: (typeof DUPLICATES)[number];
  readonly nearDuplicates: (typeof NEAR_DUPLICATES)[number];
  /** Jaccard index from which rows count as near duplicates, 0.5 … 1 */
  readonly nearThreshold: number;
}

/** Rows that repeat earlier ones. */
export interface Repeats {
  /** rows beyond the first of each group */
  readonly rows: number;
  readonly dropped: boolean;
  /** the first rows of some groups, to look at: [row, row that repeats it] */
  readonly examples: readonly (readonly [number, number])[];
}

export interface Curated {
  readonly examples: readonly Example[];
  readonly duplicates: Repeats;
  /** undefined where near duplicates were not asked for */
  readonly nearDuplicates: Repeats | undefined;
  /** groups of near duplicates among `examples`: they belong on one side of a split */
  readonly alike: readonly (readonly number[])[];
}

/** Groups shown in a report. */
const SHOWN = 3;

/** Finds rows that repeat earlier ones and leaves out those that are to be dropped; the first of a group stays. */
export function curate(examples: readonly Example[], options: CurateOptions): Curated {
  const exact = duplicateRows(examples);
  const once = withoutRepeats(examples, exact);
  const kept = options.duplicates === "drop" ? once : examples;
  const duplicates = repeats(exact, options.duplicates === "drop");
  if (options.nearDuplicates === "none") return { examples: kept, duplicates, nearDuplicates: undefined, alike: [] };
  // exact duplicates are counted once, above
  const near = nearDuplicateRows(once, options.nearThreshold);
  const drop = options.nearDuplicates === "drop";
  return {
    examples: drop ? withoutRepeats(kept, near) : kept,
    duplicates,
    nearDuplicates: repeats(near, drop),
    alike: drop ? [] : near,
  };
}

function withoutRepeats(examples: readonly Example[], groups: readonly (readonly number[])[]): readonly Example[] {
  return groups.length === 0 ? examples : withoutRows(examples, new Set(groups.flatMap((group) => group.slice(1))));
}

function repeats(groups: readonly (readonly number[])[], dropped: boolean): Repeats {
  return {
    rows: groups.reduce((sum, group) => sum + group.length - 1, 0),
    dropped,
    examples: groups.slice(0, SHOWN).map(([first, second]) => [first!, second!] as const),
  };
}

/** What training rows give away of held-out rows. */
export interface ContaminationReport {
  /** held-out rows that a training row contains */
  readonly heldRows: number;
  readonly ofRows: number;
  /** training rows that contain one */
  readonly trainRows: number;
  readonly dropped: boolean;
  readonly examples: readonly { readonly heldRow: number; readonly trainRow: number }[];
}

/**
 * Looks for held-out rows among the training rows.
 * @param action - `drop` takes the training rows out
 * @throws DataError `CONTAMINATED` for the action `error`, if there is one
 */
export function checkContamination(
  train: readonly Example[],
  held: readonly Example[],
  action: Exclude<(typeof CONTAMINATION)[number], "none">,
): { train: readonly Example[]; report: ContaminationReport } {
  const leaks = contamination(train, held);
  const rows = new Set(leaks.map(({ trainRow }) => trainRow));
  const report = {
    heldRows: new Set(leaks.map(({ heldRow }) => heldRow)).size,
    ofRows: rowsOf(held).length,
    trainRows: rows.size,
    dropped: action === "drop",
    examples: leaks.slice(0, SHOWN),
  };
  if (action === "error" && leaks.length > 0) {
    const { heldRow, trainRow } = leaks[0]!;
    throw new DataError(
      "CONTAMINATED",
      `${report.heldRows} of ${report.ofRows} held-out rows are contained in training rows, the first is row ${heldRow} (from 0) in training row ${trainRow}`,
      {
        expected: "no held-out row among the training rows",
        received: `${report.trainRows} training rows that contain one`,
        fix: "take them out of one of the two, or set data.contamination: drop",
      },
    );
  }
  return { train: action === "drop" ? withoutRows(train, rows) : train, report };
}
