import { DataError } from "../errors.ts";

/** What became of the rows of one file. */
export interface EntryReport {
  readonly path: string;
  readonly rows: number;
  readonly examples: number;
  /** of all rows, before anything was lost */
  readonly tokens: number;
  readonly targets: number;
  readonly rowsTooLong: number;
  readonly rowsWithoutTargets: number;
  readonly rowsTruncated: number;
  readonly tokensLost: number;
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

export function lossesOf(reports: readonly EntryReport[]): Losses {
  const sum = (of: (report: EntryReport) => number): number => reports.reduce((total, report) => total + of(report), 0);
  const rows = sum((report) => report.rows);
  const rowsLost = sum((report) => report.rowsTooLong + report.rowsWithoutTargets);
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
 * `overlong: drop` and `truncate` are consent to lose something, not everything.
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
