// Prompts for generation: the text of a row up to where the model is to speak, as token ids.

import { type Files, type JsonObject, parseStrictJson } from "@tunesmith/core";
import {
  BUILT_IN_TEMPLATES,
  type ChatTemplates,
  type ConversationRow,
  DataError,
  detectFormat,
  loadChatTemplates,
  type Message,
  placeText,
  readRow,
  readRows,
  type Row,
  type RowAt,
  templateFor,
  type Tokenizer,
} from "@tunesmith/data";
import { readTextFile } from "./read-file.ts";
import type { ModelFacts } from "./rows.ts";

/** Reads prompts for one model. */
export interface PromptReader {
  /** a text as it is; the tokenizer's own post-processing adds BOS */
  text(text: string): Promise<Int32Array>;
  /** a JSON file: a list of messages, or {messages, tools?} */
  messages(path: string): Promise<Int32Array>;
  /** a file of rows: the prompts of its rows, without the answers they may hold */
  rows(path: string): Promise<Int32Array[]>;
}

/**
 * @param options.chatTemplate - `auto`, a built-in name or the path of a template
 * @throws DataError `TEMPLATE_MISSING` as soon as a conversation needs a template and there is none
 */
export async function promptReader(
  files: Files,
  { tokenizer, templateFolder }: ModelFacts,
  options: { chatTemplate: string; now: Date },
): Promise<PromptReader> {
  const templates = await loadChatTemplates(files, { folder: templateFolder, spec: options.chatTemplate });
  const text = (prompt: string): Promise<Int32Array> => idsOf(tokenizer, prompt, true);
  const promptOf = (row: Row, at: RowAt): Promise<Int32Array> => {
    switch (row.kind) {
      case "completion":
        return text(row.prompt);
      case "text":
        return text(row.text);
      case "tokens":
        return Promise.resolve(row.inputIds);
      case "conversation":
        return idsOf(tokenizer, render(row, at, { templates, tokenizer, now: options.now }), false);
      case "threads":
      case "preference":
        throw new DataError(
          "FORMAT_UNSUPPORTED",
          `${placeText(at)}: a row of ${row.kind === "threads" ? "several threads" : "two answers"} is no prompt`,
          { ...at, expected: "a prompt, messages, text or tokens", fix: "write one prompt per row" },
        );
      default:
        return row satisfies never;
    }
  };
  return {
    text,
    messages: async (path) => {
      const value = parseStrictJson(await readTextFile(path), { path });
      const at = { path, line: 1 };
      const row: JsonObject = value instanceof Map ? value : new Map([["messages", value]]);
      return promptOf(readRow("messages", row, at), at);
    },
    rows: async (path) => {
      const prompts: Int32Array[] = [];
      for await (const { row, at } of readRows(files, path)) prompts.push(await promptOf(promptRow(row, at), at));
      return prompts;
    },
  };
}

async function idsOf(tokenizer: Tokenizer, text: string, addSpecialTokens: boolean): Promise<Int32Array> {
  return (await tokenizer.encode(text, { addSpecialTokens })).ids;
}

/** A row of a file; one that is a prompt and nothing else is a row as well. */
function promptRow(row: JsonObject, at: RowAt): Row {
  const alone = row.has("prompt") && !row.has("completion");
  if (!alone) return readRow(detectFormat(row, at), row, at);
  const prompt = row.get("prompt")!;
  const format = Array.isArray(prompt) ? "messages" : "text";
  return readRow(format, new Map([...row].map(([key, value]) => [key === "prompt" ? format : key, value])), at);
}

/** The conversation up to the answer: without the completion, or without a last word of the assistant's. */
function question({ messages, completionFrom }: ConversationRow): readonly Message[] {
  if (completionFrom !== undefined) return messages.slice(0, completionFrom);
  return messages.at(-1)!.role === "assistant" ? messages.slice(0, -1) : messages;
}

function render(
  row: ConversationRow,
  at: RowAt,
  { templates, tokenizer, now }: { templates: ChatTemplates | undefined; tokenizer: Tokenizer; now: Date },
): string {
  if (templates === undefined)
    throw new DataError(
      "TEMPLATE_MISSING",
      `${placeText(at)}: a conversation needs a chat template and the model has none`,
      {
        ...at,
        expected: "chat_template.jinja or `chat_template` in tokenizer_config.json",
        fix: `give --chat-template with ${BUILT_IN_TEMPLATES.join(", ")} or a file`,
      },
    );
  const { bosToken, eosToken, padToken } = tokenizer.special;
  return templateFor(templates, row.tools).render({
    messages: question(row),
    tools: row.tools,
    addGenerationPrompt: true,
    bosToken,
    eosToken,
    padToken,
    now,
  });
}
