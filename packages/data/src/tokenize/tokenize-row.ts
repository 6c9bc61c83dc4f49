// One row to examples: render, encode the joined text once, mask by character spans, shift, fit to the length.

import { BUILT_IN_TEMPLATES } from "../chat-template/built-in.ts";
import { assistantSpans, renderConversation, type SpanInput } from "../chat-template/assistant-spans.ts";
import { type ChatTemplates, templateFor } from "../chat-template/load.ts";
import { DataError } from "../errors.ts";
import { failRow, type RowAt } from "../formats/columns.ts";
import type { CompletionRow, ConversationRow, Row, TextRow, ThreadsRow, TokensRow } from "../formats/row.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { IGNORED, shiftLabels } from "./example.ts";
import { cutText, fit, type Overlong, type Piece, type TokenizedRow } from "./fit.ts";
import { labelWeights, type WeightedSpan } from "./label-weights.ts";

export const TRAIN_ON = ["assistant", "last", "completion", "all"] as const;
export type TrainOn = (typeof TRAIN_ON)[number];

export interface TokenizeOptions {
  readonly tokenizer: Tokenizer;
  /** conversations need them; without, they are an error */
  readonly templates?: ChatTemplates | undefined;
  readonly trainOn: TrainOn;
  /** tokens per example */
  readonly maxLength: number;
  readonly overlong: Overlong;
  readonly appendEos: boolean;
  /** the model's: ids must be below it */
  readonly vocabSize: number;
  /** for templates that print the date */
  readonly now: Date;
}

/**
 * Tokenizes one row.
 *
 * @param at - named in errors
 * @throws DataError `TEMPLATE_MISSING`, `TEMPLATE_FAILED`, `TEMPLATE_UNSTABLE`, `TRAIN_ON_INVALID`, `EOS_MISSING`,
 *   `DOUBLE_BOS`, `TOKEN_OUT_OF_RANGE`, `ROW_TOO_LONG` (with `overlong: "error"`)
 */
export async function tokenizeRow(row: Row, at: RowAt, options: TokenizeOptions): Promise<TokenizedRow> {
  if (row.kind === "preference") refusePreference(at);
  if (row.kind === "threads") return tokenizeThreads(row, at, options);
  if (row.kind === "text") return cutText(await tokenizeText(row, at, options), options.maxLength);
  const whole =
    row.kind === "tokens"
      ? readyTokens(row, at, options)
      : row.kind === "completion"
        ? await tokenizeCompletion(row, at, options)
        : await tokenizeConversation(row, at, options);
  checkIds(whole, at, options);
  return fit(whole, at, options);
}

function refusePreference(at: RowAt): never {
  failRow("FORMAT_UNSUPPORTED", at, "the row is a preference pair, and supervised fine-tuning trains on one answer", {
    expected: "rows with one answer",
    received: "chosen and rejected",
    fix: 'train on the chosen answers alone: map: {prompt: "{{prompt}}", completion: "{{chosen}}"} with ignore_columns: [rejected]',
  });
}

/** The threads of a tree count as one row. */
async function tokenizeThreads(row: ThreadsRow, at: RowAt, options: TokenizeOptions): Promise<TokenizedRow> {
  const threads: TokenizedRow[] = [];
  for (const thread of row.threads) threads.push(await tokenizeRow(thread, at, options));
  const pieces = threads.flatMap((thread) => thread.pieces);
  const lostTokens = threads.reduce((sum, thread) => sum + thread.lostTokens, 0);
  // a tree of which nothing was asked for has lost nothing
  const lost = pieces.length === 0 ? (threads[0]?.lost ?? "nothing") : lostTokens > 0 ? "end" : "nothing";
  return { pieces, tokens: threads.reduce((sum, thread) => sum + thread.tokens, 0), lostTokens, lost };
}

/** Prompt and completion as one text; the tokenizer's own post-processing adds BOS, EOS ends the completion. */
async function tokenizeCompletion(row: CompletionRow, at: RowAt, options: TokenizeOptions): Promise<Piece> {
  const text = row.prompt + row.completion;
  const start = options.trainOn === "all" ? 0 : row.prompt.length;
  return encodeDocument(text, [{ start, end: text.length, weight: 1 }], at, options);
}

async function tokenizeText(row: TextRow, at: RowAt, options: TokenizeOptions): Promise<Piece> {
  const whole = await encodeDocument(row.text, [{ start: 0, end: row.text.length, weight: 1 }], at, options);
  checkIds(whole, at, options);
  return whole;
}

async function encodeDocument(
  text: string,
  spans: readonly WeightedSpan[],
  at: RowAt,
  { tokenizer, appendEos }: TokenizeOptions,
): Promise<Piece> {
  const encoding = await tokenizer.encode(text, { addSpecialTokens: true });
  const weights = labelWeights(text, encoding, spans);
  const { ids } = encoding;
  checkBos(ids, at, tokenizer);
  const { eosIds } = tokenizer.special;
  if (appendEos && !eosIds.includes(ids.at(-1) ?? -1)) {
    if (eosIds.length === 0) {
      failRow("EOS_MISSING", at, "cannot append EOS: the model folder names none", {
        expected: "eos_token_id in generation_config.json or config.json, or eos_token in tokenizer_config.json",
        fix: "name the EOS token in the model folder, or set append_eos: false",
      });
    }
    return { inputIds: append(ids, eosIds[0]!), ...shiftLabels(append(ids, eosIds[0]!), appendF32(weights, 1)) };
  }
  // an EOS that post-processing added stands for no text, yet it ends the trained part
  if (appendEos && weights.length > 0) weights[weights.length - 1] = 1;
  return { inputIds: ids, ...shiftLabels(ids, weights) };
}

function append(array: Int32Array, value: number): Int32Array {
  const out = new Int32Array(array.length + 1);
  out.set(array);
  out[array.length] = value;
  return out;
}

function appendF32(array: Float32Array, value: number): Float32Array {
  const out = new Float32Array(array.length + 1);
  out.set(array);
  out[array.length] = value;
  return out;
}

/** Special tokens come from the template alone. */
async function tokenizeConversation(row: ConversationRow, at: RowAt, options: TokenizeOptions): Promise<Piece> {
  const { tokenizer, templates, now, trainOn } = options;
  if (templates === undefined) {
    failRow("TEMPLATE_MISSING", at, "conversations need a chat template and the model has none", {
      expected: "chat_template.jinja or `chat_template` in tokenizer_config.json",
      fix: `set chat_template: to ${BUILT_IN_TEMPLATES.join(", ")} or the path of a template file`,
    });
  }
  const { messages, tools } = row;
  const input: SpanInput = {
    template: templateFor(templates, tools),
    messages,
    tools,
    parallelToolCalls: row.parallelToolCalls,
    special: tokenizer.special,
    now,
  };
  const { text, spans } = withPlace(at, () => conversationSpans(row, input, trainOn, at));
  const encoding = await tokenizer.encode(text, { addSpecialTokens: false });
  checkBos(encoding.ids, at, tokenizer);
  return { inputIds: encoding.ids, ...shiftLabels(encoding.ids, labelWeights(text, encoding, spans)) };
}

function conversationSpans(
  row: ConversationRow,
  input: SpanInput,
  trainOn: TrainOn,
  at: RowAt,
): { text: string; spans: WeightedSpan[] } {
  const { messages, completionFrom = 0 } = row;
  const weight = (message: number | undefined): number =>
    message === undefined ? 1 : (messages[message]!.weight ?? 1);
  if (trainOn === "all") {
    if (messages.some((message) => message.weight !== undefined)) {
      failRow("TRAIN_ON_INVALID", at, "train_on: all trains the whole text, and a message has a weight", {
        expected: "no message weights",
        fix: "use train_on: assistant, or remove the weights",
      });
    }
    const text = renderConversation(input);
    return { text, spans: [{ start: 0, end: text.length, weight: 1 }] };
  }
  const turns = messages.flatMap((message, i) => (message.role === "assistant" && i >= completionFrom ? [i] : []));
  if (trainOn === "completion" && row.completionFrom === undefined && turns.length > 1) {
    failRow(
      "TRAIN_ON_INVALID",
      at,
      `train_on: completion needs one assistant turn, this conversation has ${turns.length}`,
      {
        expected: "one assistant message",
        received: String(turns.length),
        fix: "use train_on: assistant or train_on: last",
      },
    );
  }
  const wanted = (trainOn === "last" ? turns.slice(-1) : turns).filter((turn) => weight(turn) > 0);
  if (wanted.length === 0) return { text: renderConversation(input), spans: [] };
  const { text, spans } = assistantSpans(input, wanted, { each: wanted.some((turn) => weight(turn) !== 1) });
  return { text, spans: spans.map(({ span: [start, end], message }) => ({ start, end, weight: weight(message) })) };
}

/** Template errors know the template; this adds the row. */
function withPlace<T>(at: RowAt, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof DataError) || error.details.path !== undefined) throw error;
    const { expected, received, fix } = error.details;
    failRow(error.code, at, error.message, {
      ...(expected === undefined ? {} : { expected }),
      ...(received === undefined ? {} : { received }),
      ...(fix === undefined ? {} : { fix }),
      cause: error,
    });
  }
}

/** Labels were made elsewhere and are used as they are; padding is never a target and never predicts one. */
function readyTokens(row: TokensRow, at: RowAt, { tokenizer }: TokenizeOptions): Piece {
  const { inputIds, labels, positionIds } = row;
  const length = inputIds.length;
  const segments = segmentsOf(row);
  checkBos(segments === undefined ? inputIds : inputIds.filter((_, t) => segments[t]! >= 0), at, tokenizer);
  const segment = (t: number): number => (segments === undefined ? 0 : segments[t]!);
  const targets = new Int32Array(length).fill(IGNORED);
  const targetWeights = new Float32Array(length);
  for (let t = 0; t + 1 < length; t++) {
    if (segment(t) < 0 || segment(t + 1) < 0) continue;
    // without labels every token is trained, but none of them from a neighbour's last token
    const label = labels === undefined ? (segment(t) === segment(t + 1) ? inputIds[t + 1]! : IGNORED) : labels[t + 1]!;
    if (label === IGNORED) continue;
    targets[t] = label;
    targetWeights[t] = 1;
  }
  return {
    inputIds,
    targets,
    targetWeights,
    ...(positionIds === undefined ? {} : { positionIds }),
    ...(segments === undefined ? {} : { segmentIds: segments }),
  };
}

/**
 * Padding and packing of a row that came as tokens. As in transformers, a position that does not follow its neighbour by
 * one starts a new sequence, unless an attention mask is given.
 */
function segmentsOf({ inputIds, attentionMask, positionIds }: TokensRow): Int32Array | undefined {
  if (attentionMask !== undefined) {
    return attentionMask.includes(0) ? attentionMask.map((attended) => (attended === 0 ? -1 : 0)) : undefined;
  }
  if (positionIds === undefined) return undefined;
  const segments = new Int32Array(inputIds.length);
  for (let t = 1; t < inputIds.length; t++) {
    segments[t] = segments[t - 1]! + (positionIds[t] === positionIds[t - 1]! + 1 ? 0 : 1);
  }
  return segments.at(-1) === 0 ? undefined : segments;
}

function checkBos(ids: Int32Array, at: RowAt, tokenizer: Tokenizer): void {
  const { bosId, bosToken } = tokenizer.special;
  if (bosId === undefined || ids[0] !== bosId || ids[1] !== bosId) return;
  failRow("DOUBLE_BOS", at, `the text starts with BOS (${bosToken}, id ${bosId}) twice`, {
    expected: "one BOS",
    received: `${bosToken}${bosToken}`,
    fix: "remove the BOS token from the data: the template or the tokenizer adds it",
  });
}

function checkIds(piece: Piece, at: RowAt, { vocabSize }: TokenizeOptions): void {
  for (const [what, ids] of [
    ["token", piece.inputIds],
    ["label", piece.targets],
  ] as const) {
    const t = ids.findIndex((id) => id >= vocabSize);
    if (t === -1) continue;
    failRow("TOKEN_OUT_OF_RANGE", at, `${what} id ${ids[t]} at position ${t} is outside the model's vocabulary`, {
      expected: `ids below ${vocabSize}`,
      received: String(ids[t]),
      fix: "the tokenizer and the model do not belong together; check the model folder",
    });
  }
}
