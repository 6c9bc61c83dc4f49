// LLaMA-Factory's second data format (v1): messages whose content is a list of {type, value} and that carry a `loss_weight`.
// Rewritten to the keys of `messages`, so that everything after it is one format.

import { type JsonObject, type JsonValue, parseStrictJson } from "@tunesmith/core";
import { arrayOf, checkColumns, failRow, objectOf, preview, required, type RowAt, stringOf } from "./columns.ts";

const SHAPE = '{"type": "text | reasoning | tool_call", "value": "…"}';

/** Is it one? A part of a message in OpenAI's format has a `text` and no `value`. */
export function hasValueParts(message: JsonObject): boolean {
  const content = message.get("content");
  if (message.has("loss_weight")) return true;
  return Array.isArray(content) && content.some((part) => part instanceof Map && part.has("value"));
}

/** `{role, content: [{type, value}] | text, loss_weight?}` as `{role, content, reasoning_content?, tool_calls?, weight?}`. */
export function fromValueParts(message: JsonObject, at: RowAt, what: string): JsonObject {
  checkColumns(message, ["role", "content", "loss_weight"], at, what);
  const out: JsonObject = new Map([["role", required(message, "role", at, what)]]);
  const weight = message.get("loss_weight");
  if (weight !== undefined) out.set("weight", weight);
  const content = required(message, "content", at, what);
  if (typeof content === "string") return out.set("content", content);
  const texts: string[] = [];
  const reasoning: string[] = [];
  const calls: JsonValue[] = [];
  for (const [i, entry] of arrayOf(content, at, `${what}.content`).entries()) {
    const name = `${what}.content[${i}]`;
    const part = objectOf(entry, at, name, SHAPE);
    checkColumns(part, ["type", "value"], at, name);
    const value = stringOf(required(part, "value", at, name), at, `${name}.value`);
    const type = part.get("type");
    if (type === "text") texts.push(value);
    else if (type === "reasoning") reasoning.push(value);
    else if (type === "tool_call") calls.push(callOf(value, at, name));
    else failRow("VALUE_INVALID", at, `${name}.type is unknown`, { expected: SHAPE, received: preview(type) });
  }
  if (reasoning.length > 0) out.set("reasoning_content", reasoning.join("\n"));
  if (calls.length > 0) out.set("tool_calls", calls);
  return out.set("content", texts.length === 0 && calls.length > 0 ? null : texts.join(""));
}

function callOf(text: string, at: RowAt, what: string): JsonValue {
  let call: JsonValue;
  try {
    call = parseStrictJson(text);
  } catch (cause) {
    return failRow("VALUE_INVALID", at, `${what}.value is not the JSON of a call`, {
      expected: '{"name": "…", "arguments": {…}}',
      received: preview(text),
      cause,
    });
  }
  const named = objectOf(call, at, `${what}.value`, '{"name": "…", "arguments": {…}}');
  return new Map<string, JsonValue>([
    ["type", "function"],
    ["function", named],
  ]);
}
