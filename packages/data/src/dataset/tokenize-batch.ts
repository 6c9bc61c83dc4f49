// Some rows of a file, from text to tokens: the unit of work that may run in another thread.

import { isTunesmithError } from "@tunesmith/core";
import type { ChatTemplates } from "../chat-template/load.ts";
import { createRowReader, type Format, type RowOptions } from "../formats/formats.ts";
import { parseRow, type RawRow } from "../readers/raw-row.ts";
import { tokenizeRow, type TokenizeOptions } from "../tokenize/tokenize-row.ts";
import { packRows, type RowOutcome, type TokenChunk } from "./chunk.ts";

export const ON_BAD_ROW = ["error", "skip"] as const;
export type OnBadRow = (typeof ON_BAD_ROW)[number];

/** Everything but the rows themselves; plain data. */
export interface BatchJob extends Omit<TokenizeOptions, "tokenizer" | "templates"> {
  readonly format: Format;
  /** how columns are read */
  readonly rows: RowOptions;
  readonly onBadRow: OnBadRow;
  /** where the templates are loaded from: see `loadChatTemplates` */
  readonly folder: string;
  readonly chatTemplate: string;
}

/** Tokenizes the rows of a batch, in their order. */
export type TokenizeBatch = (rows: readonly RawRow[], job: BatchJob) => Promise<TokenChunk>;

/** Rows that are tokenized at the same time: a native tokenizer may work in other threads. */
const IN_FLIGHT = 64;

/** What is wrong with a row alone. Anything else is wrong with the config or the model and would repeat in every row. */
const OF_THE_ROW: ReadonlySet<string> = new Set([
  "JSON_INVALID",
  "UTF8_INVALID",
  "LINE_TOO_LONG",
  "CSV_INVALID",
  "VALUE_INVALID",
  "COLUMN_MISSING",
  "COLUMN_UNKNOWN",
  "ROLE_UNKNOWN",
  "TEXT_INVALID",
  "TEMPLATE_FAILED",
]);

/** True for an error that `on_bad_row: skip` passes over. */
export function isBadRow(error: unknown): boolean {
  return isTunesmithError(error) && OF_THE_ROW.has(error.code);
}

/**
 * @throws the error of the first bad row in the order of the file, unless `skip` is asked for
 */
export async function tokenizeBatch(
  rows: readonly RawRow[],
  { format, rows: rowOptions, onBadRow, ...options }: BatchJob,
  tools: Pick<TokenizeOptions, "tokenizer"> & { readonly templates: ChatTemplates | undefined },
): Promise<TokenChunk> {
  const reader = createRowReader(rowOptions);
  const one = async (raw: RawRow): Promise<RowOutcome> => {
    try {
      const row = reader.read(format, parseRow(raw), raw.at);
      return { tokenized: await tokenizeRow(row, raw.at, { ...options, ...tools }), task: row.task };
    } catch (error) {
      if (onBadRow === "error" || !isTunesmithError(error) || !isBadRow(error)) throw error;
      return { skipped: { code: error.code, message: error.message } };
    }
  };
  const outcomes: RowOutcome[] = [];
  const pending: Promise<RowOutcome>[] = [];
  for (const raw of rows) {
    const outcome = one(raw);
    outcome.catch(() => {}); // reported in order, when its turn comes
    pending.push(outcome);
    if (pending.length >= IN_FLIGHT) outcomes.push(await pending.shift()!);
  }
  for (const outcome of pending) outcomes.push(await outcome);
  return packRows(outcomes);
}
