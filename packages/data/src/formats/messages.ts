import { type JsonObject, type JsonValue, nearest, parseStrictJson } from "@tunesmith/core";
import {
  arrayOf,
  checkColumns,
  failRow,
  objectOf,
  preview,
  required,
  type RowAt,
  stringOf,
  taskOf,
  weightOf,
} from "./columns.ts";
import { fromValueParts, hasValueParts } from "./value-parts.ts";
import { type ConversationRow, type Message, type Role, ROLES } from "./row.ts";

const MESSAGE_KEYS = ["role", "content", "weight", "name", "reasoning_content", "tool_calls", "tool_call_id"] as const;

/** What other formats call the roles. */
const FOREIGN_ROLES: Record<string, Role> = {
  human: "user",
  prompter: "user",
  gpt: "assistant",
  model: "assistant",
  bot: "assistant",
  function: "tool",
};

function roleOf(value: JsonValue, at: RowAt, what: string): Role {
  const role = stringOf(value, at, `${what}.role`);
  if ((ROLES as readonly string[]).includes(role)) return role as Role;
  const near = FOREIGN_ROLES[role] ?? nearest(role, ROLES);
  failRow("ROLE_UNKNOWN", at, `${what} has the unknown role ${JSON.stringify(role)}`, {
    expected: ROLES.join(", "),
    received: role,
    fix: near === undefined ? "use one of the known roles" : `did you mean ${JSON.stringify(near)}?`,
  });
}

/** Text, or the text parts that OpenAI's format allows. */
function contentOf(value: JsonValue, at: RowAt, what: string): string {
  if (!Array.isArray(value)) return stringOf(value, at, what);
  return value
    .map((entry, i) => {
      const part = objectOf(entry, at, `${what}[${i}]`, '{"type": "text", "text": "…"}');
      if (part.get("type") !== "text") {
        failRow("VALUE_INVALID", at, `${what}[${i}] is no text`, {
          expected: '{"type": "text", "text": "…"}',
          received: preview(part.get("type")),
          fix: "only text can be trained",
        });
      }
      checkColumns(part, ["type", "text"], at, `${what}[${i}]`);
      return stringOf(required(part, "text", at, `${what}[${i}]`), at, `${what}[${i}].text`);
    })
    .join("");
}

/**
 * OpenAI writes the arguments of a call as the text of a JSON object; templates print `arguments|tojson` and would print
 * that text with its quotes escaped. Such a text becomes the object it stands for.
 */
function callOf(value: JsonValue, at: RowAt, what: string): JsonValue {
  const call = objectOf(value, at, what, '{"type": "function", "function": {"name": "…", "arguments": {…}}}');
  const inner = call.get("function");
  if (inner === undefined) return call;
  const named = objectOf(inner, at, `${what}.function`, '{"name": "…", "arguments": {…}}');
  const written = named.get("arguments");
  if (typeof written !== "string") return call;
  let parsed: JsonValue;
  try {
    parsed = parseStrictJson(written);
  } catch (cause) {
    return failRow("VALUE_INVALID", at, `${what}.function.arguments is a text and not the JSON of an object`, {
      expected: "an object, or its JSON as text",
      received: preview(written),
      cause,
    });
  }
  const args = objectOf(parsed, at, `${what}.function.arguments`, "an object, or its JSON as text");
  const object = new Map([...named].map(([key, entry]) => [key, key === "arguments" ? args : entry]));
  return new Map([...call].map(([key, entry]) => [key, key === "function" ? object : entry]));
}

/** What stands in a file and what a template shall read. */
interface Reading {
  /** tool calls as they were written */
  readonly asWritten: boolean;
}

function messageOf(value: JsonValue, at: RowAt, what: string, { asWritten }: Reading): Message {
  const given = objectOf(value, at, what, '{"role": "…", "content": "…"}');
  const message = hasValueParts(given) ? fromValueParts(given, at, what) : given;
  checkColumns(message, MESSAGE_KEYS, at, what);
  const calls = message.get("tool_calls") ?? undefined;
  const content = calls === undefined ? required(message, "content", at, what) : (message.get("content") ?? null);
  if (content === null && calls === undefined) {
    failRow("VALUE_INVALID", at, `${what}.content is null`, {
      expected: "a string (null only beside tool_calls)",
      received: "null",
    });
  }
  const text = (key: "name" | "reasoning_content" | "tool_call_id"): object => {
    const entry = message.get(key);
    return entry === undefined || entry === null ? {} : { [key]: stringOf(entry, at, `${what}.${key}`) };
  };
  const list = calls === undefined ? undefined : arrayOf(calls, at, `${what}.tool_calls`);
  return {
    role: roleOf(required(message, "role", at, what), at, what),
    content: content === null ? null : contentOf(content, at, `${what}.content`),
    ...weightOf(message, at, what),
    ...text("name"),
    ...text("reasoning_content"),
    ...(list === undefined
      ? {}
      : { tool_calls: asWritten ? list : list.map((call, i) => callOf(call, at, `${what}.tool_calls[${i}]`)) }),
    ...text("tool_call_id"),
  };
}

/** The messages of a column, checked. `what` names the column in errors. */
export function messagesOf(
  value: JsonValue,
  at: RowAt,
  what: string,
  reading: Reading = { asWritten: false },
): Message[] {
  return arrayOf(value, at, what).map((entry, i) => messageOf(entry, at, `${what}[${i}]`, reading));
}

/** `tools` as a list, or as the text of one: both are in use. */
export function toolsOf(row: JsonObject, at: RowAt): { tools?: readonly JsonValue[] } {
  const value = row.get("tools");
  if (value === undefined || value === null || value === "") return {};
  if (typeof value !== "string") return { tools: arrayOf(value, at, "`tools`") };
  try {
    return { tools: arrayOf(parseStrictJson(value), at, "`tools`") };
  } catch (cause) {
    return failRow("VALUE_INVALID", at, "`tools` is not the JSON of a list of tools", {
      expected: "a list, or its JSON as text",
      received: preview(value),
      cause,
    });
  }
}

/**
 * `{messages: [{role, content, weight?, …}], tools?, parallel_tool_calls?, task?}`: OpenAI's fine-tuning format.
 * @param reading.asWritten - arguments of tool calls stay a text where they are one
 */
export function readMessages(row: JsonObject, at: RowAt, reading: Reading = { asWritten: false }): ConversationRow {
  checkColumns(row, ["messages", "tools", "parallel_tool_calls", "task"], at, "a `messages` row");
  const messages = messagesOf(required(row, "messages", at, "a `messages` row"), at, "messages", reading);
  if (messages.length === 0) {
    failRow("VALUE_INVALID", at, "`messages` is empty", { expected: "at least one message", received: "[]" });
  }
  const parallel = row.get("parallel_tool_calls");
  if (parallel !== undefined && typeof parallel !== "boolean") {
    failRow("VALUE_INVALID", at, "`parallel_tool_calls` is not a boolean", {
      expected: "true or false",
      received: preview(parallel),
    });
  }
  return {
    kind: "conversation",
    messages,
    ...toolsOf(row, at),
    ...(parallel === undefined ? {} : { parallelToolCalls: parallel }),
    ...taskOf(row, at),
  };
}
