// What stands between the rows that were read and those that train: duplicates, what is held back, and what leaks.

import { checkContamination, curate, skippedRows, splitExamples } from "@tunesmith/data";
import type { ContaminationReport, Curated, Dataset, EntryReport, Example, Repeats } from "@tunesmith/data";
import type { ResolvedConfig } from "./config/load.ts";

/** The parts of a run's data. */
export interface Parts {
  readonly train: readonly Example[];
  /** undefined where the config names none */
  readonly evaluation: readonly Example[] | undefined;
  readonly test: readonly Example[] | undefined;
  readonly quality: Quality;
}

/** What was found, and what was done about it. */
export interface Quality {
  readonly duplicates: Repeats;
  readonly nearDuplicates: Repeats | undefined;
  /** of the eval rows, and of the test rows */
  readonly contamination: Readonly<Partial<Record<"eval" | "test", ContaminationReport>>>;
}

/** Jaccard index of near duplicates where the config says nothing. */
const NEAR_THRESHOLD = 0.8;

/**
 * @param held - rows of `data.eval` and `data.test`; undefined where they are not named
 * @throws DataError `SPLIT_INVALID`, `CONTAMINATED`
 */
export function partition(
  dataset: Dataset,
  held: { evaluation: readonly Example[] | undefined; test: readonly Example[] | undefined },
  { data, seed }: ResolvedConfig,
): Parts {
  const { examples, alike, duplicates, nearDuplicates }: Curated = curate(dataset.examples, {
    duplicates: data.duplicates,
    nearDuplicates: data.near_duplicates,
    nearThreshold: data.near_threshold ?? NEAR_THRESHOLD,
  });
  const split = splitExamples(examples, { evalSplit: data.eval_split, testSplit: data.test_split, seed, alike });
  const evaluation = held.evaluation ?? (data.eval_split === undefined ? undefined : split.eval);
  const test = held.test ?? (data.test_split === undefined ? undefined : split.test);
  let train: readonly Example[] = split.train;
  const contamination: { -readonly [K in keyof Quality["contamination"]]: Quality["contamination"][K] } = {};
  for (const [name, part] of [
    ["eval", evaluation],
    ["test", test],
  ] as const) {
    if (part === undefined || data.contamination === "none") continue;
    const checked = checkContamination(train, part, data.contamination);
    train = checked.train;
    contamination[name] = checked.report;
  }
  return { train, evaluation, test, quality: { duplicates, nearDuplicates, contamination } };
}

const VERY_FEW = 10;
const FEW = 500;

/** What a person should know before training on these parts; a line each. */
export function warnings({
  train,
  quality,
  reports,
}: Pick<Parts, "train" | "quality"> & { readonly reports: readonly EntryReport[] }): string[] {
  const out: string[] = [];
  const empty = reports.filter((report) => report.rows + skippedRows(report) === 0);
  if (empty.length > 0) out.push(`files without rows: ${empty.map(({ path }) => path).join(", ")}`);
  for (const { path, skipped } of reports)
    for (const [code, { rows: count, first }] of Object.entries(skipped))
      out.push(`${path}: ${count} bad rows skipped (${code}), the first: ${first}`);
  const rows = new Set(train.map(({ row }) => row)).size;
  if (rows < VERY_FEW) out.push(`${rows} training rows are very few: the model will recite them`);
  else if (rows < FEW)
    out.push(
      `${rows} training rows are few: preset: small-data has the settings for that (more epochs with eval rows and eval.patience, small batches, weight_decay 0.01)`,
    );
  const repeated = (how: string, { rows: count, dropped, examples }: Repeats): void => {
    if (count === 0) return;
    const [first, second] = examples[0]!;
    out.push(
      `rows that ${how} an earlier one: ${count}, such as row ${second} and row ${first} (from 0)${dropped ? "; dropped" : ""}`,
    );
  };
  repeated("repeat", quality.duplicates);
  if (quality.nearDuplicates) repeated("nearly repeat", quality.nearDuplicates);
  for (const [name, { heldRows, ofRows, trainRows, dropped }] of Object.entries(quality.contamination))
    if (heldRows > 0)
      out.push(
        `${name} rows that training rows contain: ${heldRows} of ${ofRows}; ${dropped ? `training rows dropped for it: ${trainRows}` : "their scores measure memory"}`,
      );
  return out;
}

/** {@link Quality} as JSON: `quality` of mask-report.json and of `inspect`. */
export function qualityReport({ duplicates, nearDuplicates, contamination }: Quality): object {
  return {
    duplicates,
    near_duplicates: nearDuplicates ?? null,
    contamination: Object.fromEntries(
      Object.entries(contamination).map(([name, { heldRows, ofRows, trainRows, dropped, examples }]) => [
        name,
        {
          held_rows: heldRows,
          of_rows: ofRows,
          train_rows: trainRows,
          dropped,
          examples: examples.map(({ heldRow, trainRow }) => ({ held_row: heldRow, train_row: trainRow })),
        },
      ]),
    ),
  };
}
