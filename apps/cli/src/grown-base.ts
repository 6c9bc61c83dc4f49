// `data.add_special_tokens`: a base with more tokens, made once, in a folder beside the run: weights, config, tokenizer. All
// that follows takes that folder for its model, and so does whoever opens the adapter later.

import { mkdir, rm } from "node:fs/promises";
import type { Files } from "@tunesmith/core";
import { addSpecialTokens, builtInTokens } from "@tunesmith/data";
import { writeGrownModel } from "@tunesmith/models";
import { loadTokenizer } from "@tunesmith/node";
import type { LoadedConfig } from "./config/load.ts";
import { configError } from "./config/problem.ts";
import type { Context } from "./context.ts";
import { CliError } from "./errors.ts";
import { readTextFile } from "./read-file.ts";
import { requireFolder } from "./tuned-model.ts";

const MARK = "grown.json";
/** Copied where they exist, beside those that are written anew. */
const COPIED = ["special_tokens_map.json", "chat_template.jinja", "additional_chat_templates/tool_use.jinja"];

/**
 * The config with the folder that has its tokens. Without the key, or where the model has all tokens, the config itself.
 * @throws CliError `CONFIG_CONFLICT`, `OUTPUT_NOT_A_RUN`; whatever the model and tokenizer packages throw
 */
export async function withAddedTokens<L extends LoadedConfig>(loaded: L, files: Files, context: Context): Promise<L> {
  const { config } = loaded;
  const wanted = config.data.add_special_tokens;
  if (wanted === false || (Array.isArray(wanted) && wanted.length === 0)) return loaded;
  const { model } = config;
  await requireFolder(files, model, "config.json", "model folder");
  const { tokens, endOfTurn } = wanted === true ? tokensOfTemplate(loaded) : { tokens: wanted, endOfTurn: undefined };
  const text = (name: string): Promise<string | undefined> => optional(files, files.join(model, name));
  const tokenizer = await readTextFile(files.join(model, "tokenizer.json"));
  const grown = addSpecialTokens({ tokenizer, config: await text("tokenizer_config.json") }, tokens);
  if (grown.added.length === 0 && grown.tokenizer === JSON.stringify(JSON.parse(tokenizer))) return loaded;

  const folder = `${config.output}-base`;
  const configJson = (await text("config.json"))!;
  const newIds = grown.added.map((_, i) => grown.firstId + i);
  const mark = `${JSON.stringify({ format_version: 1, model, tokens, new_ids: newIds, weights: await weightsOf(files, model), tokenizer_characters: tokenizer.length, config: configJson }, null, 2)}\n`;
  const after = { ...loaded, config: { ...config, model: folder } };
  if ((await optional(files, files.join(folder, MARK))) === mark) return after;
  await emptyFolder(files, folder);
  context.say(
    `new tokens ${grown.added.join(" ")}: rows ${grown.firstId} … of embedding and head are the mean of the others; base: ${folder}`,
  );
  const write = (name: string, content: string): Promise<void> =>
    files.writeAtomic(files.join(folder, name), [new TextEncoder().encode(content)]);
  const vocabSize = await writeGrownModel(files, model, folder, { tokens: grown.firstId, added: grown.added.length });
  await write(
    "config.json",
    edited(configJson, (json) => (json["vocab_size"] = vocabSize)),
  );
  await write("tokenizer.json", grown.tokenizer);
  if (grown.config !== undefined) await write("tokenizer_config.json", grown.config);
  for (const name of COPIED) {
    const content = await text(name);
    if (content === undefined) continue;
    if (name.includes("/")) await mkdir(files.join(folder, name.split("/")[0]!), { recursive: true });
    await write(name, content);
  }
  await write(
    "generation_config.json",
    await generationConfig(await text("generation_config.json"), folder, model, endOfTurn, files),
  );
  await write(MARK, mark);
  return after;
}

/** Ids of the tokens that were added to a base; none where it was not made here. */
export async function addedIds(files: Files, model: string): Promise<number[]> {
  const mark = await optional(files, files.join(model, MARK));
  return mark === undefined ? [] : (JSON.parse(mark) as { new_ids: number[] }).new_ids;
}

/** The tokens of the built-in template that the config names. */
function tokensOfTemplate({ config, source }: LoadedConfig): {
  tokens: readonly string[];
  endOfTurn: string | undefined;
} {
  const name = config.data.chat_template;
  const known = builtInTokens(name);
  if (known !== undefined) return known;
  throw configError(
    {
      code: "CONFIG_CONFLICT",
      key: ["data", "add_special_tokens"],
      message: `is true, and the tokens of the chat template ${name} are not known`,
      fix: 'list them: add_special_tokens: ["<|im_start|>", "<|im_end|>"]',
    },
    source,
  );
}

/** Generation stops where a turn ends; what ends a completion stays the first id. */
async function generationConfig(
  text: string | undefined,
  folder: string,
  model: string,
  endOfTurn: string | undefined,
  files: Files,
): Promise<string> {
  const json = JSON.parse(text ?? "{}") as Record<string, unknown>;
  const before = (await loadTokenizer(files, model)).special.eosIds;
  const id = endOfTurn === undefined ? undefined : (await loadTokenizer(files, folder)).tokenToId(endOfTurn);
  const ids = id === undefined || before.includes(id) ? before : [...before, id];
  if (ids.length > 0) json["eos_token_id"] = ids.length === 1 ? ids[0] : ids;
  return `${JSON.stringify(json, null, 2)}\n`;
}

function edited(text: string, edit: (json: Record<string, unknown>) => void): string {
  const json = JSON.parse(text) as Record<string, unknown>;
  edit(json);
  return `${JSON.stringify(json, null, 2)}\n`;
}

async function optional(files: Files, path: string): Promise<string | undefined> {
  return (await files.exists(path)) ? readTextFile(path) : undefined;
}

/** Names and sizes of the weight files: enough to tell another model from this one. */
export async function weightsOf(files: Files, model: string): Promise<Record<string, number>> {
  const sizes: Record<string, number> = {};
  for (const name of await files.list(model)) {
    if (!name.endsWith(".safetensors")) continue;
    const file = await files.open(files.join(model, name));
    sizes[name] = file.size;
    await file.close();
  }
  return sizes;
}

/** Only a folder that was made here is made anew. */
async function emptyFolder(files: Files, folder: string): Promise<void> {
  const names = await files.list(folder).catch(() => [] as string[]);
  if (names.length > 0 && !names.includes(MARK) && !names.every((name) => name === "model.safetensors")) {
    throw new CliError(
      "OUTPUT_NOT_A_RUN",
      `${folder} is where the base with new tokens goes, and it holds other files`,
      {
        path: folder,
        received: names.slice(0, 5).join(", "),
        expected: `an empty folder or one with ${MARK}`,
        fix: "choose another `output`, or move that folder away",
      },
    );
  }
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
}
