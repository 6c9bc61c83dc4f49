import type { JsonObject, JsonValue } from "@tunesmith/core";
import type { RowAt } from "../readers/place.ts";
import { checkColumns, failRow, preview, required, stringOf, taskOf } from "./columns.ts";
import { messagesOf } from "./messages.ts";
import type { Message, PreferenceRow } from "./row.ts";

function sideOf(value: JsonValue, at: RowAt, what: string): string | Message[] {
  if (typeof value === "string") return stringOf(value, at, `\`${what}\``);
  if (Array.isArray(value)) return messagesOf(value, at, what);
  return failRow("VALUE_INVALID", at, `\`${what}\` is neither a string nor an array of messages`, {
    expected: "a string or an array of messages",
    received: preview(value),
  });
}

/** `{prompt?, chosen, rejected, task?}`, each a string or messages. Read for the sake of later stages; nothing trains on it yet. */
export function readPreference(row: JsonObject, at: RowAt): PreferenceRow {
  const what = "a `preference` row";
  checkColumns(row, ["prompt", "chosen", "rejected", "task"], at, what);
  const prompt = row.get("prompt");
  return {
    kind: "preference",
    ...(prompt === undefined ? {} : { prompt: sideOf(prompt, at, "prompt") }),
    chosen: sideOf(required(row, "chosen", at, what), at, "chosen"),
    rejected: sideOf(required(row, "rejected", at, what), at, "rejected"),
    ...taskOf(row, at),
  };
}
