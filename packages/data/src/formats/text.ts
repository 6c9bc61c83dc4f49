import type { JsonObject } from "@tunesmith/core";
import { checkColumns, required, type RowAt, stringOf, taskOf } from "./columns.ts";
import type { TextRow } from "./row.ts";

/** `{text, task?}`: one document, all of it trained. */
export function readText(row: JsonObject, at: RowAt): TextRow {
  checkColumns(row, ["text", "task"], at, "a `text` row");
  return { kind: "text", text: stringOf(required(row, "text", at, "a `text` row"), at, "`text`"), ...taskOf(row, at) };
}
