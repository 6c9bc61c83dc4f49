// The table of formats: a new one is a new file, a name in the union and a line in each table.

import { type JsonObject, nearest } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import { readAlpaca } from "./alpaca.ts";
import { failRow, type RowAt } from "./columns.ts";
import { type ColumnMap, createColumnMapper } from "./map-columns.ts";
import { readMessages } from "./messages.ts";
import { type OasstOptions, readOasst } from "./oasst.ts";
import { readPreference } from "./preference.ts";
import { readPromptCompletion } from "./prompt-completion.ts";
import type { Row } from "./row.ts";
import { readShareGpt } from "./sharegpt.ts";
import { readText } from "./text.ts";
import { readTokens } from "./tokens.ts";

export const FORMATS = [
  "messages",
  "sharegpt",
  "alpaca",
  "prompt_completion",
  "text",
  "oasst",
  "tokens",
  "preference",
] as const;
export type Format = (typeof FORMATS)[number];

const READERS: { readonly [F in Format]: (row: JsonObject, at: RowAt, options: RowOptions) => Row } = {
  messages: (row, at) => readMessages(row, at),
  sharegpt: readShareGpt,
  alpaca: readAlpaca,
  prompt_completion: readPromptCompletion,
  text: readText,
  oasst: (row, at, { oasst }) => readOasst(row, at, oasst),
  tokens: readTokens,
  preference: readPreference,
};

/** Columns that give a format away: all of one of the lists. */
const SIGNS: { readonly [F in Format]: readonly (readonly string[])[] } = {
  messages: [["messages"]],
  sharegpt: [["conversations"]],
  alpaca: [["instruction", "output"]],
  prompt_completion: [["prompt", "completion"]],
  text: [["text"]],
  oasst: [
    ["message_tree_id", "prompt"],
    ["message_id", "text", "role"],
  ],
  tokens: [["input_ids"]],
  preference: [["chosen", "rejected"]],
};

/** How the rows of an entry are read beyond their format. Plain data. */
export interface RowOptions {
  /** columns of the file to columns of the format */
  readonly map?: ColumnMap | undefined;
  /** columns that are there and not used */
  readonly ignoreColumns?: readonly string[] | undefined;
  readonly oasst?: OasstOptions | undefined;
  /** draws among several wordings */
  readonly seed?: number | undefined;
}

/**
 * A format by its configured name; `auto` stays `auto`.
 * @throws DataError `FORMAT_UNKNOWN` for any other name
 */
export function formatByName(name: string): Format | "auto" {
  if (name === "auto" || (FORMATS as readonly string[]).includes(name)) return name as Format | "auto";
  const near = nearest(name, [...FORMATS, "auto"]);
  throw new DataError("FORMAT_UNKNOWN", `unknown data format ${JSON.stringify(name)}`, {
    expected: ["auto", ...FORMATS].join(", "),
    received: name,
    fix:
      near === undefined ? "use one of the known formats, or map its columns" : `did you mean ${JSON.stringify(near)}?`,
  });
}

function fits(format: Format, row: JsonObject): boolean {
  // every message of a tree has a `text`
  if (format === "text" && fits("oasst", row)) return false;
  return SIGNS[format].some((columns) => columns.every((column) => row.has(column)));
}

/**
 * The format of a row, told by its columns.
 * @throws DataError `FORMAT_UNKNOWN` where no format or more than one fits
 */
export function detectFormat(row: JsonObject, at: RowAt): Format {
  const found = FORMATS.filter((format) => fits(format, row));
  if (found.length === 1) return found[0]!;
  failRow(
    "FORMAT_UNKNOWN",
    at,
    found.length === 0 ? "no known format has these columns" : `the columns fit ${found.join(" and ")}`,
    {
      expected: FORMATS.map((format) => `${format} (${SIGNS[format].map((list) => list.join(", ")).join("; ")})`).join(
        " | ",
      ),
      received: [...row.keys()].join(", ") || "no columns",
      fix:
        found.length === 0
          ? "map the columns with `map:`, or rename them"
          : `name the format: ${found.map((name) => `format: ${name}`).join(" or ")}`,
    },
  );
}

/** Reads one row of a known format, checking every column. */
export function readRow(format: Format, row: JsonObject, at: RowAt, options: RowOptions = {}): Row {
  return READERS[format](row, at, options);
}

/** Reads the rows of one entry. */
export interface RowReader {
  /** @throws DataError `FORMAT_UNKNOWN` */
  detect(row: JsonObject, at: RowAt): Format;
  read(format: Format, row: JsonObject, at: RowAt): Row;
}

/**
 * Columns that are mapped or left out, then {@link detectFormat} and {@link readRow}.
 * @throws DataError `MAP_INVALID` for a map that means nothing
 */
export function createRowReader(options: RowOptions): RowReader {
  const { map, ignoreColumns = [], seed = 0 } = options;
  const mapper = map === undefined ? undefined : createColumnMapper(map, seed);
  const columns = (row: JsonObject, at: RowAt): JsonObject => {
    if (mapper === undefined && ignoreColumns.length === 0) return row;
    const kept = new Map([...row].filter(([key]) => !ignoreColumns.includes(key)));
    if (mapper === undefined) return kept;
    const unused = [...kept.keys()].filter((key) => !mapper.reads.has(key) && key !== "task");
    if (unused.length > 0) {
      failRow("COLUMN_UNKNOWN", at, `the map uses no column ${unused.map((key) => JSON.stringify(key)).join(", ")}`, {
        expected: [...mapper.reads].join(", "),
        received: unused.join(", "),
        fix: `add ignore_columns: [${[...ignoreColumns, ...unused].join(", ")}], or use them in the map`,
      });
    }
    return mapper.apply(row, at);
  };
  return {
    detect: (row, at) => detectFormat(columns(row, at), at),
    read: (format, row, at) => readRow(format, columns(row, at), at, options),
  };
}
