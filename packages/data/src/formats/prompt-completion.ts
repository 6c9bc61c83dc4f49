import type { JsonObject } from "@tunesmith/core";
import { checkColumns, failRow, preview, required, type RowAt, stringOf, taskOf } from "./columns.ts";
import { messagesOf, toolsOf } from "./messages.ts";
import type { CompletionRow, ConversationRow } from "./row.ts";

/**
 * `{prompt, completion, tools?, task?}`: two strings, or two arrays of messages. Strings never see a template; messages
 * always do, and only the completion's are trained.
 */
export function readPromptCompletion(row: JsonObject, at: RowAt): CompletionRow | ConversationRow {
  const what = "a `prompt_completion` row";
  const prompt = required(row, "prompt", at, what);
  const completion = required(row, "completion", at, what);
  if (typeof prompt === "string" && typeof completion === "string") {
    checkColumns(row, ["prompt", "completion", "task"], at, what);
    return {
      kind: "completion",
      prompt: stringOf(prompt, at, "`prompt`"),
      completion: stringOf(completion, at, "`completion`"),
      ...taskOf(row, at),
    };
  }
  if (Array.isArray(prompt) && Array.isArray(completion)) {
    checkColumns(row, ["prompt", "completion", "tools", "task"], at, what);
    const before = messagesOf(prompt, at, "prompt");
    const after = messagesOf(completion, at, "completion");
    if (before.length === 0 || after.length === 0) {
      failRow("VALUE_INVALID", at, "`prompt` or `completion` holds no message", {
        expected: "at least one message each",
      });
    }
    return {
      kind: "conversation",
      messages: [...before, ...after],
      completionFrom: before.length,
      ...toolsOf(row, at),
      ...taskOf(row, at),
    };
  }
  failRow("VALUE_INVALID", at, "`prompt` and `completion` are neither both strings nor both arrays of messages", {
    expected: "two strings or two arrays of messages",
    received: `${preview(prompt)} and ${preview(completion)}`,
  });
}
