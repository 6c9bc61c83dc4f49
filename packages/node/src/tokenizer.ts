// `Tokenizer` on the native Hugging Face library.

import { createHash } from "node:crypto";
import type { Files } from "@tunesmith/core";
import { codePointStarts, DataError, type Encoding, readTokenizerFolder, type Tokenizer } from "@tunesmith/data";
import { type Encoding as NativeEncoding, Tokenizer as Native } from "tokenizers";

/**
 * Loads the tokenizer of a Hugging Face model folder (tokenizer.json and the configs beside it).
 *
 * @throws InputError `FILE_MISSING` without tokenizer.json
 * @throws DataError `TOKENIZER_INVALID` where the library refuses the file or the configs contradict it
 */
export async function loadTokenizer(files: Files, folder: string): Promise<Tokenizer> {
  const { tokenizerJson, special } = await readTokenizerFolder(files, folder);
  let native: Native;
  try {
    native = Native.fromString(tokenizerJson);
  } catch (cause) {
    const path = files.join(folder, "tokenizer.json");
    throw new DataError("TOKENIZER_INVALID", `${path}: ${(cause as Error).message}`, {
      path,
      expected: "a tokenizer.json of Hugging Face tokenizers",
      fix: "copy tokenizer.json from the model's repository again",
      cause,
    });
  }
  // some tokenizer.json files carry the settings of the script that wrote them
  native.disableTruncation();
  native.disablePadding();
  const tokenToId = (token: string): number | undefined => native.tokenToId(token) ?? undefined;
  const specialTokens = special(tokenToId);
  return {
    fingerprint: createHash("sha256")
      .update(tokenizerJson)
      .update("\0")
      .update(JSON.stringify(specialTokens))
      .digest("hex"),
    special: specialTokens,
    vocabSize: native.getVocabSize(true),
    encode: async (text, { addSpecialTokens }) => convert(text, await native.encode(text, null, { addSpecialTokens })),
    decode: (ids, { skipSpecialTokens }) => native.decode(Array.from(ids), skipSpecialTokens),
    tokenToId,
    idToToken: (id) => native.idToToken(id) ?? undefined,
  };
}

/** The library counts code points, JavaScript UTF-16 code units. */
function convert(text: string, encoding: NativeEncoding): Encoding {
  const ids = Int32Array.from(encoding.getIds());
  const offsets = encoding.getOffsets();
  const units = codePointStarts(text);
  const starts = new Int32Array(ids.length);
  const ends = new Int32Array(ids.length);
  // a loop: `Int32Array.from` with a function costs a quarter of a microsecond per token
  for (let t = 0; t < ids.length; t++) {
    const [start, end] = offsets[t] as [number, number];
    starts[t] = units === undefined ? start : units[start]!;
    ends[t] = units === undefined ? end : units[end]!;
  }
  return { ids, starts, ends };
}
