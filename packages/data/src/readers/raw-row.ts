// What a reader makes of one row. Plain data: it crosses to a worker as it is, and a row that could not be read is a
// value, so that whoever asked for `skip` goes on with the next one.

import {
  InputError,
  isTunesmithError,
  type JsonObject,
  type JsonValue,
  parseStrictJson,
  type TunesmithError,
} from "@tunesmith/core";
import { DataError } from "../errors.ts";
import { placeDetails, placeText, type RowAt } from "./place.ts";

/** A row that was read: JSON text still to be parsed, columns, or the reason why there is nothing. */
export type RawRow =
  | { readonly at: RowAt; readonly json: string }
  | { readonly at: RowAt; readonly row: JsonObject }
  | { readonly at: RowAt; readonly error: TunesmithError };

/**
 * The columns of a row.
 * @throws the error of a row that could not be read; InputError `JSON_INVALID`; DataError `VALUE_INVALID` where a row is
 *   JSON but no object
 */
export function parseRow(raw: RawRow): JsonObject {
  if ("row" in raw) return raw.row;
  if ("error" in raw) throw raw.error;
  const { at, json } = raw;
  let value: JsonValue;
  try {
    value = parseStrictJson(json, { path: placeText(at), byte: at.byte ?? 0 });
  } catch (error) {
    if (!isTunesmithError(error)) throw error;
    const { byte } = error.details;
    const place = placeDetails({ ...at, ...(byte === undefined ? {} : { byte }) });
    throw new InputError("JSON_INVALID", error.message, { ...error.details, ...place, cause: error });
  }
  if (value instanceof Map) return value;
  throw new DataError("VALUE_INVALID", `${placeText(at)}: the row is JSON but not an object`, {
    ...placeDetails(at),
    expected: 'an object, like {"prompt": "…", "completion": "…"}',
    received: json.slice(0, 40),
    fix: "write one object per row; a .jsonl file has one on each line, a .json file one array around all",
  });
}

/** What `read` makes of a row, or the typed error it throws. */
export function rawRow(at: RowAt, read: () => { json: string } | { row: JsonObject }): RawRow {
  try {
    return { at, ...read() };
  } catch (error) {
    if (!isTunesmithError(error)) throw error;
    return { at, error };
  }
}

/** The error of a row that is longer than `limit` bytes. */
export function tooLong(at: RowAt, limit: number, fix: string): RawRow {
  return {
    at,
    error: new DataError("LINE_TOO_LONG", `${placeText(at)}: the row is longer than ${limit} bytes`, {
      ...placeDetails(at),
      expected: `at most ${limit} bytes`,
      fix,
    }),
  };
}
