import { type JsonObject, type JsonValue, nearest, parseStrictJson } from "@tunesmith/core";
import type { RowAt } from "../readers/place.ts";
import { arrayOf, checkColumns, failRow, objectOf, preview, required, stringOf, taskOf, weightOf } from "./columns.ts";
import { messagesOf, toolsOf } from "./messages.ts";
import type { ConversationRow, Message } from "./row.ts";

/** Who speaks, by every name in use. */
const SPEAKERS: Readonly<Record<string, Message["role"] | "call">> = {
  human: "user",
  user: "user",
  gpt: "assistant",
  assistant: "assistant",
  model: "assistant",
  chatgpt: "assistant",
  bing: "assistant",
  bard: "assistant",
  system: "system",
  developer: "developer",
  tool: "tool",
  observation: "tool",
  function_response: "tool",
  function_call: "call",
  tool_call: "call",
};

/** `{"name": …, "arguments": …}`, or a list of these, as text: the calls of one turn. */
function callsOf(text: string, at: RowAt, what: string): JsonValue[] {
  let value: JsonValue;
  try {
    value = parseStrictJson(text);
  } catch (cause) {
    return failRow("VALUE_INVALID", at, `${what}.value is not the JSON of a tool call`, {
      expected: '{"name": "…", "arguments": {…}}',
      received: preview(text),
      cause,
    });
  }
  return (Array.isArray(value) ? value : [value]).map((call) => {
    const object = objectOf(call, at, `${what}.value`, '{"name": "…", "arguments": {…}}');
    stringOf(required(object, "name", at, `${what}.value`), at, `${what}.value.name`);
    return new Map<string, JsonValue>([
      ["type", "function"],
      ["function", object],
    ]);
  });
}

function turnOf(value: JsonValue, at: RowAt, what: string): Message {
  const turn = objectOf(value, at, what, '{"from": "…", "value": "…"}');
  checkColumns(turn, ["from", "value", "weight"], at, what);
  const from = stringOf(required(turn, "from", at, what), at, `${what}.from`);
  const role = Object.hasOwn(SPEAKERS, from) ? SPEAKERS[from]! : undefined;
  const text = stringOf(required(turn, "value", at, what), at, `${what}.value`);
  if (role === undefined) {
    const near = nearest(from, Object.keys(SPEAKERS));
    failRow("ROLE_UNKNOWN", at, `${what} is from the unknown speaker ${JSON.stringify(from)}`, {
      expected: Object.keys(SPEAKERS).join(", "),
      received: from,
      fix: near === undefined ? "use one of the known speakers" : `did you mean ${JSON.stringify(near)}?`,
    });
  }
  const weight = weightOf(turn, at, what);
  if (role === "call") return { role: "assistant", content: "", tool_calls: callsOf(text, at, what), ...weight };
  return { role, content: text, ...weight };
}

/**
 * ShareGPT: `{conversations: [{from, value, weight?}], system?, tools?, id?, task?}`; `from` is human or gpt, and also
 * system, observation (what a tool answered) and function_call (whose value is the JSON of the call). `id` is not used.
 */
export function readShareGpt(row: JsonObject, at: RowAt): ConversationRow {
  const what = "a `sharegpt` row";
  checkColumns(row, ["conversations", "system", "tools", "id", "task"], at, what);
  const turns = arrayOf(required(row, "conversations", at, what), at, "`conversations`");
  if (turns.length === 0) {
    failRow("VALUE_INVALID", at, "`conversations` is empty", { expected: "at least one turn", received: "[]" });
  }
  // some files have the turns of the `messages` format under this name
  const plain = turns.every((turn) => turn instanceof Map && turn.has("role") && !turn.has("from"));
  const messages = plain
    ? messagesOf(turns, at, "conversations")
    : turns.map((turn, i) => turnOf(turn, at, `conversations[${i}]`));
  const system = row.get("system") ?? "";
  const opening: Message[] = system === "" ? [] : [{ role: "system", content: stringOf(system, at, "`system`") }];
  if (opening.length > 0 && messages[0]!.role === "system") {
    failRow("VALUE_INVALID", at, "the row has a `system` column and a system turn", { expected: "one of the two" });
  }
  return { kind: "conversation", messages: [...opening, ...messages], ...toolsOf(row, at), ...taskOf(row, at) };
}
