import { type JsonObject, type JsonValue, nearest } from "@tunesmith/core";
import { arrayOf, checkColumns, failRow, preview, required, type RowAt, stringOf, taskOf } from "./columns.ts";
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

function messageOf(value: JsonValue, at: RowAt, what: string): Message {
  if (!(value instanceof Map)) {
    failRow("VALUE_INVALID", at, `${what} is not an object`, {
      expected: '{"role": "…", "content": "…"}',
      received: preview(value),
    });
  }
  checkColumns(value, MESSAGE_KEYS, at, what);
  const calls = value.get("tool_calls") ?? undefined;
  const content = calls === undefined ? required(value, "content", at, what) : (value.get("content") ?? null);
  if (content === null && calls === undefined) {
    failRow("VALUE_INVALID", at, `${what}.content is null`, {
      expected: "a string (null only beside tool_calls)",
      received: "null",
    });
  }
  const weight = value.get("weight");
  if (weight !== undefined && !(typeof weight === "number" && weight >= 0)) {
    failRow("VALUE_INVALID", at, `${what}.weight is not a number ≥ 0`, {
      expected: "a number ≥ 0",
      received: preview(weight),
    });
  }
  const text = (key: "name" | "reasoning_content" | "tool_call_id"): object => {
    const entry = value.get(key);
    return entry === undefined || entry === null ? {} : { [key]: stringOf(entry, at, `${what}.${key}`) };
  };
  return {
    role: roleOf(required(value, "role", at, what), at, what),
    content: content === null ? null : stringOf(content, at, `${what}.content`),
    ...(weight === undefined ? {} : { weight }),
    ...text("name"),
    ...text("reasoning_content"),
    ...(calls === undefined ? {} : { tool_calls: arrayOf(calls, at, `${what}.tool_calls`) }),
    ...text("tool_call_id"),
  };
}

/** The messages of a column, checked. `what` names the column in errors. */
export function messagesOf(value: JsonValue, at: RowAt, what: string): Message[] {
  return arrayOf(value, at, what).map((entry, i) => messageOf(entry, at, `${what}[${i}]`));
}

export function toolsOf(row: JsonObject, at: RowAt): { tools?: readonly JsonValue[] } {
  const value = row.get("tools");
  return value === undefined || value === null ? {} : { tools: arrayOf(value, at, "`tools`") };
}

/** `{messages: [{role, content, weight?, …}], tools?, task?}` */
export function readMessages(row: JsonObject, at: RowAt): ConversationRow {
  checkColumns(row, ["messages", "tools", "task"], at, "a `messages` row");
  const messages = messagesOf(required(row, "messages", at, "a `messages` row"), at, "messages");
  if (messages.length === 0) {
    failRow("VALUE_INVALID", at, "`messages` is empty", { expected: "at least one message", received: "[]" });
  }
  return { kind: "conversation", messages, ...toolsOf(row, at), ...taskOf(row, at) };
}
