// A tokenizer small enough to check by eye: special tokens are one id each, every other code point is its own.

import type { Encoding, SpecialTokens, Tokenizer } from "../src/index.ts";

export interface CharTokenizerOptions {
  /** texts of the special tokens; ids 0, 1, … in this order */
  readonly specials?: readonly string[];
  readonly bos?: string;
  readonly eos?: readonly string[];
  /** post-processing: BOS in front, EOS behind */
  readonly addBos?: boolean;
  readonly addEos?: boolean;
  /** two characters that become one token, as a BPE merge would */
  readonly merges?: readonly string[];
}

/** Ids: specials, then merges, then 1000 + code point. */
export function charTokenizer(options: CharTokenizerOptions = {}): Tokenizer {
  const { specials = ["<s>", "</s>"], merges = [], addBos = false, addEos = false } = options;
  const pieces = [...specials, ...merges];
  const idOf = (text: string): number | undefined => (pieces.includes(text) ? pieces.indexOf(text) : undefined);
  const bosToken = options.bos ?? specials[0];
  const eosIds = (options.eos ?? ["</s>"]).map((token) => idOf(token)!).filter((id) => id !== undefined);
  const special: SpecialTokens = {
    bosToken,
    bosId: bosToken === undefined ? undefined : idOf(bosToken),
    eosToken: specials[eosIds[0]!],
    eosIds,
    padToken: undefined,
  };
  function encode(text: string, addSpecialTokens: boolean): Encoding {
    const tokens: [id: number, start: number, end: number][] = [];
    if (addSpecialTokens && addBos) tokens.push([special.bosId!, 0, 0]);
    for (let at = 0; at < text.length;) {
      const piece = pieces.find((candidate) => text.startsWith(candidate, at));
      const char = String.fromCodePoint(text.codePointAt(at)!);
      const end = at + (piece ?? char).length;
      tokens.push([piece === undefined ? 1000 + char.codePointAt(0)! : pieces.indexOf(piece), at, end]);
      at = end;
    }
    if (addSpecialTokens && addEos) tokens.push([eosIds[0]!, 0, 0]);
    return {
      ids: Int32Array.from(tokens, (token) => token[0]),
      starts: Int32Array.from(tokens, (token) => token[1]),
      ends: Int32Array.from(tokens, (token) => token[2]),
    };
  }
  const textOf = (id: number): string => pieces[id] ?? String.fromCodePoint(id - 1000);
  return {
    special,
    vocabSize: 0x110000 + 1000,
    encode: async (text, { addSpecialTokens }) => encode(text, addSpecialTokens),
    decode: async (ids, { skipSpecialTokens }) =>
      Array.from(ids, (id) => (skipSpecialTokens && id < specials.length ? "" : textOf(id))).join(""),
    tokenToId: idOf,
    idToToken: textOf,
  };
}
