// What this package needs from a tokenizer. `@tunesmith/node` implements it on the native Hugging Face library;
// a browser may bring its own.

/** Token ids of one text and the characters each token stands for. All three arrays have the same length. */
export interface Encoding {
  readonly ids: Int32Array;
  /** first UTF-16 code unit of each token; several tokens of one character (byte-level BPE) all span that character */
  readonly starts: Int32Array;
  /** one past the last UTF-16 code unit; equal to the start for tokens that stand for no text, such as an added BOS */
  readonly ends: Int32Array;
}

/** Special tokens of a model folder. */
export interface SpecialTokens {
  /** text of the BOS token, for templates */
  readonly bosToken: string | undefined;
  readonly bosId: number | undefined;
  /** text of the tokenizer's EOS token, for templates */
  readonly eosToken: string | undefined;
  /** ids that end generation: generation_config, else config, else the tokenizer; the first one is appended to documents */
  readonly eosIds: readonly number[];
  readonly padToken: string | undefined;
}

/** Text to ids and back. Implementations never pad and never truncate. */
export interface Tokenizer {
  /** differs from that of any tokenizer that may encode a text otherwise; prepared rows need it */
  readonly fingerprint?: string | undefined;
  readonly special: SpecialTokens;
  /** number of tokens including added ones; ids may still be sparse */
  readonly vocabSize: number;
  /**
   * @param options.addSpecialTokens - let the tokenizer's own post-processing add BOS and the like
   * @returns ids with offsets in UTF-16 code units of `text`
   */
  encode(text: string, options: { addSpecialTokens: boolean }): Promise<Encoding>;
  decode(ids: ArrayLike<number>, options: { skipSpecialTokens: boolean }): Promise<string>;
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
}
