// Conversations through a chat template: the text, and which characters of it an assistant wrote.

import { resolve } from "node:path";
import type { Files, JsonObject, JsonValue } from "@tunesmith/core";
import { isTunesmithError, parseStrictJson } from "@tunesmith/core";
import {
  assistantSpans,
  BUILT_IN_TEMPLATES,
  compileTemplate,
  loadChatTemplates,
  placeDetails,
  placeText,
  readMessages,
  readRows,
  spansInCodePoints,
  templateFor,
} from "@tunesmith/data";
import type { ChatTemplate, ChatTemplates, ConversationRow, RowAt, Span } from "@tunesmith/data";
import { nodeFiles } from "@tunesmith/node";
import type { Context, Outcome } from "../context.ts";
import { CliError } from "../errors.ts";
import { typedError } from "../failure.ts";
import type { Options } from "../flags.ts";
import { readTextFile } from "../read-file.ts";
import { templateSpec } from "../template-spec.ts";

/** One conversation and everything its text depends on. */
interface RenderRow extends ConversationRow {
  readonly template: ChatTemplate;
  readonly addGenerationPrompt: boolean;
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  readonly now: Date;
}

/** The document of one rendered conversation. */
interface Rendered {
  readonly text: string;
  /** `[start, end]` in code points */
  readonly spans: readonly (readonly [number, number])[];
}

type Flags = "chat-template" | "messages" | "batch" | "add-generation-prompt";

export async function run(_: readonly string[], options: Options<Flags>, context: Context): Promise<Outcome> {
  const files = nodeFiles();
  const templates = await loadTemplates(files, options.chatTemplate, context);
  const base = { templates, addGenerationPrompt: options.addGenerationPrompt, now: localClock() };
  if (options.batch !== undefined) {
    const lines: string[] = [];
    for await (const { row, at } of readRows(files, resolve(context.cwd, options.batch), { fileFormat: "jsonl" }))
      lines.push(JSON.stringify(renderOr(() => render(rowOf(row, at, base)))));
    return { document: undefined, text: lines.join("\n") };
  }
  const path = resolve(context.cwd, options.messages!);
  const value = parseStrictJson(await readTextFile(path), { path });
  const row: JsonObject = value instanceof Map ? value : new Map([["messages", value]]);
  const rendered = render(rowOf(row, { path, line: 1 }, base));
  return { document: rendered, text: rendered.text };
}

async function loadTemplates(
  files: Files,
  spec: string | undefined,
  context: Context,
): Promise<ChatTemplates | undefined> {
  if (spec === undefined) return undefined;
  return loadChatTemplates(files, { folder: context.cwd, spec: templateSpec(spec, context.cwd) });
}

/** A row that does not render says so in its own line; the rows after it still come. */
function renderOr(work: () => Rendered): Rendered | { error: unknown } {
  try {
    return work();
  } catch (error) {
    if (!isTunesmithError(error)) throw error;
    return { error: typedError(error).toJSON() };
  }
}

const ROW_KEYS = ["template", "add_generation_prompt", "bos_token", "eos_token", "now"] as const;

function rowOf(
  row: JsonObject,
  at: RowAt,
  base: { templates: ChatTemplates | undefined; addGenerationPrompt: boolean; now: Date },
): RenderRow {
  const own = new Map<string, JsonValue>([...row].filter(([key]) => (ROW_KEYS as readonly string[]).includes(key)));
  const rest = new Map([...row].filter(([key]) => !own.has(key)));
  const conversation = readMessages(rest, at, { asWritten: true });
  const text = (key: (typeof ROW_KEYS)[number]): string | undefined => {
    const value = own.get(key);
    if (value === undefined || value === null || typeof value === "string") return value ?? undefined;
    throw badColumn(at, key, "a string", value);
  };
  const flag = own.get("add_generation_prompt") ?? base.addGenerationPrompt;
  if (typeof flag !== "boolean") throw badColumn(at, "add_generation_prompt", "true or false", flag);
  return {
    ...conversation,
    template: templateOf(text("template"), base.templates, conversation, at),
    addGenerationPrompt: flag,
    bosToken: text("bos_token"),
    eosToken: text("eos_token"),
    now: clockOf(text("now"), base.now, at),
  };
}

function templateOf(
  source: string | undefined,
  templates: ChatTemplates | undefined,
  { tools }: ConversationRow,
  at: RowAt,
): ChatTemplate {
  if (source !== undefined) return compileTemplate(source, placeText(at));
  if (templates !== undefined) return templateFor(templates, tools);
  throw new CliError("FLAG_MISSING", `${placeText(at)}: the row has no \`template\` and no --chat-template is given`, {
    ...placeDetails(at),
    fix: `give --chat-template with ${BUILT_IN_TEMPLATES.join(", ")} or a file`,
  });
}

function badColumn(at: RowAt, column: string, expected: string, value: JsonValue): CliError {
  const received = JSON.stringify(value) ?? String(value);
  return new CliError("INPUT_INVALID", `${placeText(at)}: \`${column}\` is not ${expected}`, {
    ...at,
    expected,
    received,
    fix: `correct \`${column}\` in this row`,
  });
}

/** The clock on the wall, in the UTC fields that templates read. */
function localClock(): Date {
  const now = new Date();
  return new Date(now.getTime() - now.getTimezoneOffset() * 60_000);
}

function clockOf(text: string | undefined, fallback: Date, at: RowAt): Date {
  if (text === undefined) return fallback;
  const clock = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?$/.test(text) ? new Date(`${text}Z`) : new Date(NaN);
  if (Number.isNaN(clock.getTime()))
    throw badColumn(at, "now", "a time like 2025-07-10T12:00:00, without a zone", text);
  return clock;
}

function render(row: RenderRow): Rendered & { spans_unknown?: string } {
  const { template, messages, tools, parallelToolCalls, addGenerationPrompt, bosToken, eosToken, now } = row;
  const input = { messages, tools, parallelToolCalls, addGenerationPrompt, bosToken, eosToken, now };
  if (template.hasGenerationTags) {
    const { text, spans } = template.renderWithSpans(input);
    return { text, spans: inCodePoints(text, spans) };
  }
  const text = template.render(input);
  const turns = messages.flatMap((message, i) => (message.role === "assistant" ? [i] : []));
  if (turns.length === 0) return { text, spans: [] };
  const special = {
    bosToken,
    eosToken,
    bosId: undefined,
    padToken: undefined,
    eosIds: [],
    specialTexts: new Set<string>(),
  };
  try {
    const found = assistantSpans({ template, messages, tools, parallelToolCalls, special, now }, turns, {
      each: false,
    });
    if (!text.startsWith(found.text))
      return { text, spans: [], spans_unknown: "the generation prompt changes the text before it" };
    return {
      text,
      spans: inCodePoints(
        text,
        found.spans.map(({ span }) => span),
      ),
    };
  } catch (error) {
    // the text is what was asked for; that this template hides its turns is said, and only training makes it an error
    if (isTunesmithError(error)) return { text, spans: [], spans_unknown: error.message };
    throw error;
  }
}

function inCodePoints(text: string, spans: readonly Span[]): (readonly [number, number])[] {
  return spansInCodePoints(text, spans).map(([start, end]) => [start, end]);
}
