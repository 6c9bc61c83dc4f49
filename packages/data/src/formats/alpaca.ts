import type { JsonObject } from "@tunesmith/core";
import type { RowAt } from "../readers/place.ts";
import { arrayOf, checkColumns, failRow, preview, required, stringOf, taskOf } from "./columns.ts";
import type { ConversationRow, Message } from "./row.ts";

/** What a user's turn says: the instruction, and behind an empty line its input. */
function userTurn(instruction: string, input: string): Message {
  if (input === "") return { role: "user", content: instruction, instruction };
  return { role: "user", content: `${instruction}\n\n${input}`, instruction, input };
}

/**
 * Alpaca: `{instruction, input?, output, system?, history?, text?, task?}`. A conversation of one question, which may have
 * earlier ones in `history: [[question, answer], …]`. `text`, the rendered copy in the original file, is not used.
 */
export function readAlpaca(row: JsonObject, at: RowAt): ConversationRow {
  const what = "an `alpaca` row";
  checkColumns(row, ["instruction", "input", "output", "system", "history", "text", "task"], at, what);
  const text = (key: string): string => stringOf(row.get(key) ?? "", at, `\`${key}\``);
  const instruction = stringOf(required(row, "instruction", at, what), at, "`instruction`");
  const output = stringOf(required(row, "output", at, what), at, "`output`");
  const history = arrayOf(row.get("history") ?? [], at, "`history`").flatMap((pair, i): Message[] => {
    if (!Array.isArray(pair) || pair.length !== 2) {
      failRow("VALUE_INVALID", at, `history[${i}] is not a pair`, {
        expected: '["question", "answer"]',
        received: preview(pair),
      });
    }
    const [question, answer] = pair.map((part, j) => stringOf(part, at, `history[${i}][${j}]`)) as [string, string];
    return [userTurn(question, ""), { role: "assistant", content: answer }];
  });
  const system = text("system");
  return {
    kind: "conversation",
    messages: [
      ...(system === "" ? [] : [{ role: "system", content: system } as const]),
      ...history,
      userTurn(instruction, text("input")),
      { role: "assistant", content: output },
    ],
    ...taskOf(row, at),
  };
}
