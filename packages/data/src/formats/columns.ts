// Reading the columns of one row. Every complaint names file, line and column.

import { type JsonObject, type JsonValue, nearest } from "@tunesmith/core";
import { DataError, type DataErrorCode } from "../errors.ts";
import { placeDetails, placeText, type RowAt } from "../readers/place.ts";

export type { RowAt };

export function failRow(
  code: DataErrorCode,
  at: RowAt,
  message: string,
  details: { expected?: string; received?: string; fix?: string; cause?: unknown } = {},
): never {
  throw new DataError(code, `${placeText(at)}: ${message}`, {
    ...placeDetails(at),
    fix: "correct this row",
    ...details,
  });
}

/** A JSON value in few characters, for errors. */
export function preview(value: JsonValue | undefined): string {
  if (value === undefined) return "nothing";
  if (value instanceof Map) return `an object with ${[...value.keys()].slice(0, 5).join(", ") || "no keys"}`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** @throws DataError `COLUMN_UNKNOWN` for a key outside `known`, naming the nearest known one */
export function checkColumns(row: JsonObject, known: readonly string[], at: RowAt, what: string): void {
  for (const key of row.keys()) {
    if (known.includes(key)) continue;
    const near = nearest(key, known);
    failRow("COLUMN_UNKNOWN", at, `${what} has an unknown column ${JSON.stringify(key)}`, {
      expected: known.join(", "),
      received: key,
      fix:
        near === undefined
          ? "remove the column, or name it under ignore_columns"
          : `did you mean ${JSON.stringify(near)}? Else remove the column, or name it under ignore_columns`,
    });
  }
}

export function required(row: JsonObject, key: string, at: RowAt, what: string): JsonValue {
  const value = row.get(key);
  if (value !== undefined) return value;
  failRow("COLUMN_MISSING", at, `${what} has no column ${JSON.stringify(key)}`, {
    expected: key,
    received: [...row.keys()].join(", ") || "no columns",
    fix: "add the column, or name the right format",
  });
}

export function stringOf(value: JsonValue, at: RowAt, what: string): string {
  if (typeof value !== "string") {
    failRow("VALUE_INVALID", at, `${what} is not a string`, { expected: "a string", received: preview(value) });
  }
  // JSON may escape half a surrogate pair; a tokenizer would replace it with U+FFFD and the text would have changed
  const lone = /\p{Surrogate}/u.exec(value);
  if (lone !== null) {
    failRow("TEXT_INVALID", at, `${what} holds a lone surrogate at character ${lone.index}`, {
      expected: "Unicode text",
      received: `\\u${value.charCodeAt(lone.index).toString(16)}`,
      fix: "repair the text: an emoji was probably cut in half",
    });
  }
  return value;
}

export function arrayOf(value: JsonValue, at: RowAt, what: string): JsonValue[] {
  if (Array.isArray(value)) return value;
  failRow("VALUE_INVALID", at, `${what} is not an array`, { expected: "an array", received: preview(value) });
}

export function objectOf(value: JsonValue, at: RowAt, what: string, expected: string): JsonObject {
  if (value instanceof Map) return value;
  failRow("VALUE_INVALID", at, `${what} is not an object`, { expected, received: preview(value) });
}

/** The optional `weight` of a message: how much its targets count. */
export function weightOf(message: JsonObject, at: RowAt, what: string): { weight?: number } {
  const weight = message.get("weight");
  if (weight === undefined || weight === null) return {};
  if (typeof weight === "number" && weight >= 0) return { weight };
  failRow("VALUE_INVALID", at, `${what}.weight is not a number ≥ 0`, {
    expected: "a number ≥ 0",
    received: preview(weight),
  });
}

/** The optional `task` column. */
export function taskOf(row: JsonObject, at: RowAt): { task?: string } {
  const value = row.get("task");
  if (value === undefined) return {};
  const task = stringOf(value, at, "`task`");
  if (task === "") failRow("VALUE_INVALID", at, "`task` is empty", { expected: "a task name", received: '""' });
  return { task };
}
