// OpenAssistant trees: every reply is a branch. A tree becomes the threads one wants to learn from.

import type { JsonObject, JsonValue } from "@tunesmith/core";
import type { RowAt } from "../readers/place.ts";
import { arrayOf, failRow, objectOf, required, stringOf, taskOf } from "./columns.ts";
import type { ConversationRow, Message, ThreadsRow } from "./row.ts";

export const THREADS = ["best", "all"] as const;
export type Threads = (typeof THREADS)[number];

/** Which threads of a tree are read. */
export interface OasstOptions {
  /**
   * `best` (default): one thread, at every message the reply ranked best (lowest `rank`; unranked ones behind, in the
   * file's order). `all`: every thread from the prompt to a last answer; an answer that several threads share is trained in the first of
   * them and context in the others, so no answer counts twice.
   */
  readonly threads?: Threads | undefined;
  /** languages to read, by their code in the file; default all. A message in another one ends its thread */
  readonly lang?: readonly string[] | undefined;
}

interface Node {
  readonly role: "user" | "assistant";
  readonly text: string;
  readonly rank: number;
  readonly replies: readonly Node[];
}

const ROLES: Readonly<Record<string, Node["role"]>> = { prompter: "user", assistant: "assistant" };
/** The export's own trees are at most a dozen deep. */
const MAX_DEPTH = 60;

/** A message and what may follow it; undefined for one that was deleted, refused in review, or in another language. */
function nodeOf(value: JsonValue, at: RowAt, what: string, options: OasstOptions, depth = 0): Node | undefined {
  const message = objectOf(value, at, what, "a message with text, role and replies");
  if (depth > MAX_DEPTH) failRow("VALUE_INVALID", at, `the tree is deeper than ${MAX_DEPTH} messages`, {});
  const name = stringOf(required(message, "role", at, what), at, `${what}.role`);
  const role = Object.hasOwn(ROLES, name) ? ROLES[name]! : undefined;
  if (role === undefined) {
    failRow("ROLE_UNKNOWN", at, `${what} has the unknown role ${JSON.stringify(name)}`, {
      expected: Object.keys(ROLES).join(", "),
      received: name,
    });
  }
  const text = stringOf(required(message, "text", at, what), at, `${what}.text`);
  const lang = message.get("lang");
  const wanted = options.lang === undefined || (typeof lang === "string" && options.lang.includes(lang));
  if (message.get("deleted") === true || message.get("review_result") === false || !wanted) return undefined;
  const rank = message.get("rank");
  const replies = arrayOf(message.get("replies") ?? [], at, `${what}.replies`).flatMap((reply, i) => {
    const node = nodeOf(reply, at, `${what}.replies[${i}]`, options, depth + 1);
    if (node !== undefined && node.role === role) {
      failRow("VALUE_INVALID", at, `${what}.replies[${i}] has the role of the message it answers`, {
        expected: role === "user" ? "assistant" : "prompter",
        received: name,
      });
    }
    return node === undefined ? [] : [node];
  });
  return { role, text, rank: typeof rank === "number" ? rank : Infinity, replies };
}

/** Paths from the root to every last answer; a question that nobody answered belongs to no thread. */
function paths(node: Node, best: boolean, before: readonly Node[] = []): (readonly Node[])[] {
  const path = [...before, node];
  const ranked = node.replies.toSorted((a, b) => (a.rank === b.rank ? 0 : a.rank - b.rank));
  const following = (best ? ranked.slice(0, 1) : ranked).flatMap((reply) => paths(reply, best, path));
  if (following.length > 0) return following;
  return node.role === "assistant" ? [path] : [];
}

/** The path is cut where it ends in a question; `all` may then give one thread several times. */
function threadsOf(root: Node, threads: Threads): ConversationRow[] {
  const trained = new Set<Node>();
  const rows: ConversationRow[] = [];
  for (const path of paths(root, threads === "best")) {
    if (path.every((node) => node.role === "user" || trained.has(node))) continue;
    const messages = path.map((node): Message => ({
      role: node.role,
      content: node.text,
      ...(node.role === "assistant" && trained.has(node) ? { weight: 0 } : {}),
    }));
    for (const node of path) trained.add(node);
    rows.push({ kind: "conversation", messages });
  }
  return rows;
}

/**
 * A tree of the OpenAssistant export: `{message_tree_id, tree_state, prompt: {…}}`, or a first message with its `replies`.
 */
export function readOasst(row: JsonObject, at: RowAt, options: OasstOptions = {}): ThreadsRow {
  const root = row.get("prompt") ?? row;
  const parent = root instanceof Map ? root.get("parent_id") : undefined;
  if (parent !== undefined && parent !== null) {
    failRow("VALUE_INVALID", at, "the message has a parent in another row", {
      expected: "a tree per row: a first message with its `replies`",
      received: "one message per row",
      fix: "use the export's trees file instead of its messages file",
    });
  }
  const node = nodeOf(root, at, row.has("prompt") ? "prompt" : "the message", options);
  const threads = node === undefined ? [] : threadsOf(node, options.threads ?? "best");
  return { kind: "threads", threads, ...taskOf(row, at) };
}
