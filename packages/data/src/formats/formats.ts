// The table of formats: a new one is a new file, a name in the union and a line in each table.

import { type JsonObject, nearest } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import { failRow, type RowAt } from "./columns.ts";
import { readMessages } from "./messages.ts";
import { readPromptCompletion } from "./prompt-completion.ts";
import type { Row } from "./row.ts";
import { readText } from "./text.ts";
import { readTokens } from "./tokens.ts";

export const FORMATS = ["messages", "prompt_completion", "tokens", "text"] as const;
export type Format = (typeof FORMATS)[number];

const READERS: { readonly [F in Format]: (row: JsonObject, at: RowAt) => Row } = {
  messages: readMessages,
  prompt_completion: readPromptCompletion,
  tokens: readTokens,
  text: readText,
};

/** Columns that give a format away, tried in this order. */
const SIGNS: { readonly [F in Format]: readonly string[] } = {
  messages: ["messages"],
  prompt_completion: ["prompt", "completion"],
  tokens: ["input_ids"],
  text: ["text"],
};

/** Formats that exist elsewhere and are refused by name, with the columns that give them away. */
const REFUSED: Record<string, readonly string[]> = {
  sharegpt: ["conversations"],
  alpaca: ["instruction", "output"],
  oasst: ["message_id", "parent_id"],
};

function refuse(name: string, at: Partial<RowAt>): never {
  const where = at.path === undefined ? "" : `${at.path}${at.line === undefined ? "" : `:${at.line}`}: `;
  throw new DataError("FORMAT_UNSUPPORTED", `${where}the format ${JSON.stringify(name)} is not supported`, {
    ...at,
    expected: FORMATS.join(", "),
    received: name,
    fix: 'convert the rows to {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
  });
}

/**
 * A format by its configured name; `auto` stays `auto`.
 * @throws DataError `FORMAT_UNSUPPORTED` for a known format that is refused, `FORMAT_UNKNOWN` for any other name
 */
export function formatByName(name: string): Format | "auto" {
  if (name === "auto" || (FORMATS as readonly string[]).includes(name)) return name as Format | "auto";
  if (Object.hasOwn(REFUSED, name)) refuse(name, {});
  const near = nearest(name, [...FORMATS, "auto"]);
  throw new DataError("FORMAT_UNKNOWN", `unknown data format ${JSON.stringify(name)}`, {
    expected: ["auto", ...FORMATS].join(", "),
    received: name,
    fix: near === undefined ? "use one of the known formats" : `did you mean ${JSON.stringify(near)}?`,
  });
}

/**
 * The format of a row, told by its columns.
 * @throws DataError `FORMAT_UNKNOWN` where no format or more than one fits, `FORMAT_UNSUPPORTED` for a refused one
 */
export function detectFormat(row: JsonObject, at: RowAt): Format {
  const fits = FORMATS.filter((format) => SIGNS[format].every((column) => row.has(column)));
  if (fits.length === 1) return fits[0]!;
  if (fits.length === 0) {
    const refused = Object.keys(REFUSED).find((name) => REFUSED[name]!.every((column) => row.has(column)));
    if (refused !== undefined) refuse(refused, at);
  }
  failRow(
    "FORMAT_UNKNOWN",
    at,
    fits.length === 0 ? "no known format has these columns" : `the columns fit ${fits.join(" and ")}`,
    {
      expected: FORMATS.map((format) => `${format} (${SIGNS[format].join(", ")})`).join(" | "),
      received: [...row.keys()].join(", ") || "no columns",
      fix: "rename the columns or name the format with `format:`",
    },
  );
}

/** Reads one row of a known format, checking every column. */
export function readRow(format: Format, row: JsonObject, at: RowAt): Row {
  return READERS[format](row, at);
}
