// `tune.train_new_tokens`: which rows of embedding and head train beside the adapter.

import type { Files } from "@tunesmith/core";
import type { LoraConfig } from "@tunesmith/lora";
import { type ModelConfig, replaceableWeights } from "@tunesmith/models";
import { loadTokenizer } from "@tunesmith/node";
import type { LoadedConfig } from "./config/load.ts";
import { configError } from "./config/problem.ts";
import { addedIds } from "./grown-base.ts";

/**
 * The rows as PEFT's `trainable_token_indices`: of the embedding, and of the output head unless it is tied to it.
 * @throws CliError `CONFIG_CONFLICT` where the base has no added tokens, or the tokenizer lacks one that is named
 */
export async function trainableTokens(
  { config, source }: LoadedConfig,
  model: ModelConfig,
  files: Files,
): Promise<LoraConfig["trainableTokens"]> {
  const asked = config.tune.train_new_tokens;
  if (asked === false) return undefined;
  const conflict = (message: string, fix: string): Error =>
    configError({ code: "CONFIG_CONFLICT", key: ["tune", "train_new_tokens"], message, fix }, source);
  const ids = asked === true ? await addedIds(files, config.model) : await idsOf(asked);
  if (ids.length === 0)
    throw conflict(
      "is true, and no token was added to the base",
      'name the tokens, such as ["<|im_start|>", "<|im_end|>"], or set data.add_special_tokens',
    );
  const paths = [...replaceableWeights(model).keys()].slice(0, model.tiedHead ? 1 : 2);
  return Object.fromEntries(paths.map((path) => [path.split(".").at(-1)!, ids]));

  async function idsOf(tokens: readonly string[]): Promise<number[]> {
    const tokenizer = await loadTokenizer(files, config.model);
    return tokens.map((token) => {
      const id = tokenizer.tokenToId(token);
      if (id === undefined)
        throw conflict(`names ${token}, which is no token of ${config.model}`, "add it with data.add_special_tokens");
      return id;
    });
  }
}
