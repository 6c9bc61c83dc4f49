// What a Hugging Face model folder says about special tokens, beside tokenizer.json itself.

import { type Files, InputError } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import type { SpecialTokens } from "./tokenizer.ts";

/** Reads a small UTF-8 file whole. */
export async function readTextFile(files: Files, path: string): Promise<string> {
  const source = await files.open(path);
  try {
    const bytes = await source.read(0, source.size);
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new InputError("UTF8_INVALID", `${path}: not valid UTF-8`, { path, fix: "convert the file to UTF-8", cause });
  } finally {
    await source.close();
  }
}

/** The keys of a JSON file of a model folder. */
export type Config = Readonly<Record<string, unknown>>;

/**
 * Reads a config of a model folder, undefined if there is none. Plain `JSON.parse`, as strict JSON refuses the
 * `model_max_length` of 10^30 that many tokenizer_config.json hold.
 *
 * @throws DataError `TOKENIZER_INVALID` if the file is not a JSON object
 */
export async function readConfig(files: Files, path: string): Promise<Config | undefined> {
  if (!(await files.exists(path))) return undefined;
  const text = await readTextFile(files, path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DataError("TOKENIZER_INVALID", `${path}: not JSON: ${(cause as Error).message}`, { path, cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Config;
  throw new DataError("TOKENIZER_INVALID", `${path}: not a JSON object`, { path, expected: "an object" });
}

/** A token is written as its text or as `{content, …}`; null means the model has none. */
function tokenText(config: Config | undefined, path: string, key: string): string | undefined {
  const value = config?.[key];
  const text = typeof value === "object" && value !== null ? (value as Config)["content"] : value;
  if (text === undefined || text === null) return undefined;
  if (typeof text === "string") return text;
  throw new DataError("TOKENIZER_INVALID", `${path}: ${key} is not a token`, {
    path,
    expected: "a string or {content}",
  });
}

function tokenIds(config: Config | undefined, path: string, key: string): readonly number[] | undefined {
  const value = config?.[key];
  if (value === undefined || value === null) return undefined;
  const ids: unknown[] = Array.isArray(value) ? value : [value];
  if (ids.length > 0 && ids.every((id): id is number => Number.isSafeInteger(id) && (id as number) >= 0)) return ids;
  throw new DataError("TOKENIZER_INVALID", `${path}: ${key} is not a token id`, {
    path,
    expected: "an integer ≥ 0 or a list of them",
    received: JSON.stringify(value),
  });
}

/** What a tokenizer implementation needs: its own definition and the folder's word on special tokens. */
export interface TokenizerFolder {
  /** text of tokenizer.json */
  readonly tokenizerJson: string;
  /** builds the special tokens once the vocabulary can be asked */
  special(tokenToId: (token: string) => number | undefined): SpecialTokens;
}

/**
 * Reads tokenizer.json, tokenizer_config.json, special_tokens_map.json, generation_config.json and config.json; all but
 * the first may be absent. EOS ids come from generation_config, else config, else the tokenizer's `eos_token`; BOS is the
 * tokenizer's `bos_token`.
 *
 * @throws InputError `FILE_MISSING` without tokenizer.json
 * @throws DataError `TOKENIZER_INVALID`
 */
export async function readTokenizerFolder(files: Files, folder: string): Promise<TokenizerFolder> {
  const paths = {
    tokenizer: files.join(folder, "tokenizer.json"),
    config: files.join(folder, "tokenizer_config.json"),
    map: files.join(folder, "special_tokens_map.json"),
    generation: files.join(folder, "generation_config.json"),
    model: files.join(folder, "config.json"),
  };
  const tokenizerJson = await readTextFile(files, paths.tokenizer);
  const config = await readConfig(files, paths.config);
  const map = await readConfig(files, paths.map);
  const generation = await readConfig(files, paths.generation);
  const model = await readConfig(files, paths.model);

  const token = (key: string): string | undefined =>
    config !== undefined && Object.hasOwn(config, key)
      ? tokenText(config, paths.config, key)
      : tokenText(map, paths.map, key);

  return {
    tokenizerJson,
    special(tokenToId) {
      const idOf = (key: string, text: string | undefined): number | undefined => {
        if (text === undefined) return undefined;
        const id = tokenToId(text);
        if (id !== undefined) return id;
        throw new DataError("TOKENIZER_INVALID", `${folder}: ${key} ${JSON.stringify(text)} is not in the vocabulary`, {
          path: folder,
          received: text,
          fix: "repair tokenizer_config.json or special_tokens_map.json",
        });
      };
      const bosToken = token("bos_token");
      const eosToken = token("eos_token");
      const ownEos = idOf("eos_token", eosToken);
      return {
        bosToken,
        bosId: idOf("bos_token", bosToken),
        eosToken,
        eosIds:
          tokenIds(generation, paths.generation, "eos_token_id") ??
          tokenIds(model, paths.model, "eos_token_id") ??
          (ownEos === undefined ? [] : [ownEos]),
        padToken: token("pad_token"),
      };
    },
  };
}
