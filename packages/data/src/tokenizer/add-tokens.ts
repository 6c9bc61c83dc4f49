// New special tokens in a tokenizer's own files. Only JSON is edited here: what the tokenizer makes of it is asked later.

import { DataError } from "../errors.ts";

/** Texts of a tokenizer's files. */
export interface TokenizerTexts {
  /** tokenizer.json */
  readonly tokenizer: string;
  /** tokenizer_config.json */
  readonly config: string | undefined;
}

/** What was added, and where the ids begin. */
export interface AddedTokens extends TokenizerTexts {
  /** the tokens that were not there yet, in the order given; the first has id `firstId`, then one by one */
  readonly added: readonly string[];
  /** one more than the largest id before: as many rows of the embedding belonged to tokens */
  readonly firstId: number;
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
}

interface TokenizerJson {
  added_tokens?: AddedToken[];
  readonly model?: { readonly vocab?: unknown };
}

const FLAGS = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };

function invalid(because: string): never {
  throw new DataError("TOKENIZER_INVALID", `tokenizer.json: ${because}`, {
    expected: "a tokenizer.json of Hugging Face tokenizers",
    fix: "copy tokenizer.json from the model's repository again",
  });
}

/** A vocabulary is text → id, or, in unigram models, a list whose places are ids. */
function idsOf(vocab: unknown): { ids: readonly number[]; has: (token: string) => boolean } {
  if (Array.isArray(vocab)) {
    const texts = new Set(vocab.map((entry: unknown) => (Array.isArray(entry) ? (entry[0] as unknown) : undefined)));
    return { ids: [vocab.length - 1], has: (token) => texts.has(token) };
  }
  if (typeof vocab !== "object" || vocab === null) return invalid("it has no vocabulary");
  return { ids: Object.values(vocab) as number[], has: (token) => Object.hasOwn(vocab, token) };
}

/**
 * Adds special tokens behind all others. A token that is there as an added token stays as it is; one that is a plain word
 * of the vocabulary keeps its id and becomes special, so that no text is ever cut through it.
 *
 * @throws DataError `TOKENIZER_INVALID`
 */
export function addSpecialTokens(texts: TokenizerTexts, tokens: readonly string[]): AddedTokens {
  const json = JSON.parse(texts.tokenizer) as TokenizerJson;
  const before = (json.added_tokens ??= []);
  const { ids, has } = idsOf(json.model?.vocab);
  const largest = ids.reduce((most, id) => Math.max(most, id), -1);
  const firstId = before.reduce((most, { id }) => Math.max(most, id), largest) + 1;
  if (!Number.isSafeInteger(firstId)) return invalid("an id is not a number");
  const added: string[] = [];
  for (const token of new Set(tokens)) {
    if (before.some(({ content }) => content === token)) continue;
    if (has(token)) {
      const id = (json.model!.vocab as Record<string, number>)[token];
      if (id === undefined) return invalid(`its unigram vocabulary holds ${token} as a plain piece`);
      before.push({ id, content: token, ...FLAGS } as AddedToken);
      continue;
    }
    before.push({ id: firstId + added.length, content: token, ...FLAGS } as AddedToken);
    added.push(token);
  }
  before.sort((a, b) => a.id - b.id);
  return { tokenizer: JSON.stringify(json), config: configWith(texts.config, added, firstId), added, firstId };
}

/** transformers reads the tokens' flags from here where the key exists. */
function configWith(text: string | undefined, added: readonly string[], firstId: number): string | undefined {
  if (text === undefined) return undefined;
  const json = JSON.parse(text) as Record<string, unknown>;
  const decoder = json["added_tokens_decoder"];
  if (typeof decoder === "object" && decoder !== null) {
    const own = decoder as Record<string, unknown>;
    added.forEach((content, i) => (own[String(firstId + i)] = { content, ...FLAGS }));
  }
  return JSON.stringify(json, null, 2);
}
