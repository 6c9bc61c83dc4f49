// What a Hugging Face model folder says about special tokens, beside tokenizer.json itself.

import { type Files, InputError, type JsonObject, type JsonValue, parseStrictJson } from "@tunesmith/core";
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

async function readObject(files: Files, path: string): Promise<JsonObject | undefined> {
  if (!(await files.exists(path))) return undefined;
  const value = parseStrictJson(await readTextFile(files, path), { path });
  if (value instanceof Map) return value;
  throw new DataError("TOKENIZER_INVALID", `${path}: not a JSON object`, { path, expected: "an object" });
}

/** A token is written as its text or as `{content, …}`; null means the model has none. */
function tokenText(value: JsonValue | undefined, path: string, key: string): string | undefined {
  const text = value instanceof Map ? value.get("content") : value;
  if (text === undefined || text === null || typeof text === "string") return text ?? undefined;
  throw new DataError("TOKENIZER_INVALID", `${path}: ${key} is not a token`, {
    path,
    expected: "a string or {content}",
  });
}

function idsOf(value: JsonValue | undefined, path: string, key: string): number[] | undefined {
  if (value === undefined || value === null) return undefined;
  const ids = Array.isArray(value) ? value : [value];
  if (ids.length > 0 && ids.every((id): id is number => Number.isSafeInteger(id) && (id as number) >= 0)) return ids;
  throw new DataError("TOKENIZER_INVALID", `${path}: ${key} is not a token id`, {
    path,
    expected: "an integer ≥ 0 or a list of them",
    received: JSON.stringify(value),
  });
}

/** The added tokens of tokenizer.json. The library that runs it checks the file; JSON.parse is quick on 280,000 merges. */
function addedTokens(tokenizerJson: string, path: string): { content?: unknown; special?: unknown }[] {
  let definition: { added_tokens?: unknown } | null;
  try {
    definition = JSON.parse(tokenizerJson) as { added_tokens?: unknown } | null;
  } catch (cause) {
    throw new DataError("TOKENIZER_INVALID", `${path}: not JSON: ${(cause as Error).message}`, { path, cause });
  }
  const added = definition?.added_tokens;
  return Array.isArray(added) ? added.filter((entry) => typeof entry === "object" && entry !== null) : [];
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
  const config = await readObject(files, paths.config);
  const map = await readObject(files, paths.map);
  const generation = await readObject(files, paths.generation);
  const model = await readObject(files, paths.model);

  const token = (key: string): string | undefined =>
    config?.has(key) ? tokenText(config.get(key), paths.config, key) : tokenText(map?.get(key), paths.map, key);
  const specialTexts = new Set<string>();
  for (const entry of addedTokens(tokenizerJson, paths.tokenizer)) {
    if (entry.special === true && typeof entry.content === "string" && entry.content !== "")
      specialTexts.add(entry.content);
  }

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
          idsOf(generation?.get("eos_token_id"), paths.generation, "eos_token_id") ??
          idsOf(model?.get("eos_token_id"), paths.model, "eos_token_id") ??
          (ownEos === undefined ? [] : [ownEos]),
        padToken: token("pad_token"),
        specialTexts,
      };
    },
  };
}
