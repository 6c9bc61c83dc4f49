// Which characters of a rendered conversation each assistant message wrote.

import type { JsonValue } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import type { Message } from "../formats/row.ts";
import { BUILT_IN_TEMPLATES, builtInTemplate } from "./built-in.ts";
import type { SpecialTokens } from "../tokenizer/tokenizer.ts";
import type { ChatTemplate, RenderInput, Span } from "./template.ts";

/** A span of the rendered text and the message that wrote it. */
export interface MessageSpan {
  readonly span: Span;
  /** index into the conversation; undefined where nobody asked and the spans do not tell */
  readonly message: number | undefined;
}

/** Conversation, template and what the template may read. */
export interface SpanInput {
  readonly template: ChatTemplate;
  readonly messages: readonly Message[];
  readonly tools?: readonly JsonValue[] | undefined;
  readonly parallelToolCalls?: boolean | undefined;
  readonly special: SpecialTokens;
  readonly now: Date;
}

/** Some templates print whole messages; how much one counts is no part of the conversation. */
function forTemplate(message: Message): Message {
  const { weight, ...rest } = message;
  return weight === undefined ? message : rest;
}

function inputOf(input: SpanInput, count: number, addGenerationPrompt: boolean): RenderInput {
  const { bosToken, eosToken, padToken } = input.special;
  return {
    messages: input.messages.slice(0, count).map(forTemplate),
    tools: input.tools,
    parallelToolCalls: input.parallelToolCalls,
    addGenerationPrompt,
    bosToken,
    eosToken,
    padToken,
    now: input.now,
  };
}

/** The text of a whole conversation, without a generation prompt. */
export function renderConversation(input: SpanInput): string {
  return input.template.render(inputOf(input, input.messages.length, false));
}

/**
 * Spans of the `wanted` assistant messages, from the template's `{% generation %}` blocks if it has any, else from prefixes.
 *
 * By prefixes, message i is what `messages[..i]` with a generation prompt lacks of `messages[..i+1]`; both must be prefixes
 * of the whole text, else the template rewrites earlier turns and the difference means nothing. A span reaches through the
 * turn's end token and the line break some templates write behind it, as the spans of Hugging Face's training templates do.
 * Where prefixes do not nest, a built-in template that writes the same text tells the spans.
 *
 * @param wanted - ascending indices of assistant messages
 * @param options.each - every span must be known by its message, because weights differ
 * @throws DataError `TEMPLATE_UNSTABLE` where prefixes do not nest, `TEMPLATE_FAILED` where the template raises
 */
export function assistantSpans(
  input: SpanInput,
  wanted: readonly number[],
  options: { each: boolean },
): { text: string; spans: MessageSpan[] } {
  if (input.template.hasGenerationTags) return taggedSpans(input, wanted, options.each);
  const text = renderConversation(input);
  const found = wanted.map((message) => prefixSpan(input, text, message));
  const spans = found.flatMap((span, i) => (span === undefined ? [] : [{ message: wanted[i]!, span }]));
  if (spans.length === wanted.length) return { text, spans };
  const twin = twinOf(input, text);
  if (twin !== undefined) return taggedSpans({ ...input, template: twin }, wanted, options.each);
  return unstable(input, wanted[found.indexOf(undefined)]!, "later messages change how it is rendered");
}

function unstable({ template }: SpanInput, message: number, because: string, cause?: unknown): never {
  throw new DataError(
    "TEMPLATE_UNSTABLE",
    `chat template ${template.name}: cannot tell what message ${message} wrote: ${because}`,
    {
      expected: "a template whose text for the first messages is a prefix of the text for all of them",
      fix: "add {% generation %} tags around assistant text in the template, use train_on: last, or a built-in template by its name",
      cause,
    },
  );
}

const twins = new Map<string, ChatTemplate>();

/** A built-in template that writes the same text of this conversation: where its answers lie, they lie here. */
function twinOf(input: SpanInput, text: string): ChatTemplate | undefined {
  return BUILT_IN_TEMPLATES.map((name) => {
    if (!twins.has(name)) twins.set(name, builtInTemplate(name)!);
    return twins.get(name)!;
  }).find((template) => {
    try {
      return renderConversation({ ...input, template }) === text;
    } catch {
      return false; // it has no form for this conversation
    }
  });
}

function taggedSpans(
  input: SpanInput,
  wanted: readonly number[],
  each: boolean,
): { text: string; spans: MessageSpan[] } {
  const { text, spans } = input.template.renderWithSpans(inputOf(input, input.messages.length, false));
  const assistants = input.messages.flatMap((message, i) => (message.role === "assistant" ? [i] : []));
  if (spans.length === assistants.length) {
    const all = spans.map((span, i) => ({ span, message: assistants[i]! }));
    return { text, spans: all.filter(({ message }) => wanted.includes(message)) };
  }
  if (each || wanted.length < assistants.length) {
    throw new DataError(
      "TEMPLATE_UNSTABLE",
      `chat template ${input.template.name}: ${spans.length} {% generation %} spans for ${assistants.length} assistant messages`,
      {
        expected: "one span per assistant message, to train only some of the messages",
        received: `${spans.length} spans`,
        fix: "use train_on: assistant without message weights, or a template with one {% generation %} block per message",
      },
    );
  }
  return { text, spans: spans.map((span) => ({ span, message: undefined })) };
}

/** undefined where later messages change how this one is rendered */
function prefixSpan(input: SpanInput, text: string, message: number): Span | undefined {
  const { template } = input;
  const render = (count: number, addGenerationPrompt: boolean): string => {
    try {
      return template.render(inputOf(input, count, addGenerationPrompt));
    } catch (cause) {
      return unstable(input, message, `the first ${count} messages alone do not render`, cause);
    }
  };
  if (message === 0) return unstable(input, message, "the conversation starts with it");
  const before = render(message, true);
  const through = message === input.messages.length - 1 ? text : render(message + 1, false);
  // training on a text that no generation prompt leads to would teach what is never asked for
  if (!through.startsWith(before)) {
    return unstable(input, message, "the text with the answer does not continue the generation prompt");
  }
  return text.startsWith(through) ? [before.length, through.length] : undefined;
}
