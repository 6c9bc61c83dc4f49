import { DataError } from "../errors.ts";
import type { RowCounts } from "./chunk.ts";

/** What became of the rows of one file: `rows`, those skipped and the blank ones are all the file holds. */
export interface EntryReport extends RowCounts {
  readonly path: string;
  /** lines or records that hold nothing */
  readonly blank: number;
}

/** What was lost, over all files. */
export interface Losses {
  readonly rows: number;
  readonly rowsLost: number;
  readonly tokens: number;
  readonly tokensLost: number;
  /** the larger of the two shares, 0 … 1 */
  readonly share: number;
}

/** Bad rows that were left out. */
export function skippedRows({ skipped }: EntryReport): number {
  return Object.values(skipped).reduce((total, { rows }) => total + rows, 0);
}

export function lossesOf(reports: readonly EntryReport[]): Losses {
  const sum = (of: (report: EntryReport) => number): number => reports.reduce((total, report) => total + of(report), 0);
  const skipped = sum(skippedRows);
  const rows = skipped + sum((report) => report.rows);
  const rowsLost = skipped + sum((report) => report.rowsTooLong + report.rowsWithoutTargets);
  const tokens = sum((report) => report.tokens);
  const tokensLost = sum((report) => report.tokensLost);
  return {
    rows,
    rowsLost,
    tokens,
    tokensLost,
    share: Math.max(rowsLost / Math.max(1, rows), tokensLost / Math.max(1, tokens)),
  };
}

/**
 * `overlong: drop` and `truncate` and `on_bad_row: skip` are consent to lose something, not everything.
 * @param maxLost - `gates.max_lost`, share of rows and of tokens, default 0.05
 * @throws DataError `TOO_MUCH_LOST`
 */
export function checkLosses(reports: readonly EntryReport[], maxLost = 0.05): void {
  const { rows, rowsLost, tokens, tokensLost, share } = lossesOf(reports);
  if (share <= maxLost) return;
  const worst = reports
    .map((report) => ({ path: report.path, ...lossesOf([report]) }))
    .sort((a, b) => b.share - a.share)[0]!;
  throw new DataError(
    "TOO_MUCH_LOST",
    `${rowsLost} of ${rows} rows and ${tokensLost} of ${tokens} tokens would be lost, most of them from ${worst.path}`,
    {
      path: worst.path,
      expected: `a share of at most ${maxLost}`,
      received: share.toFixed(4),
      fix: "raise max_length, repair the rows, or raise gates.max_lost",
    },
  );
}
