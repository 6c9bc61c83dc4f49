import { describe, expect, test } from "vitest";
import { memoryFiles } from "../../test/memory-files.ts";
import { readTokenizerFolder } from "./model-folder.ts";
import type { SpecialTokens } from "./tokenizer.ts";

const vocabulary = new Map([
  ["<s>", 1],
  ["</s>", 2],
  ["<|im_end|>", 7],
]);
async function special(contents: Record<string, unknown>): Promise<SpecialTokens> {
  const files = Object.entries({ "tokenizer.json": {}, ...contents }).map(([name, content]) => [
    `m/${name}`,
    typeof content === "string" ? content : JSON.stringify(content),
  ]);
  const folder = await readTokenizerFolder(memoryFiles(Object.fromEntries(files) as Record<string, string>), "m");
  return folder.special((token) => vocabulary.get(token));
}
const config = { bos_token: "<s>", eos_token: { content: "</s>", lstrip: false }, pad_token: null };

describe("special tokens of a model folder", () => {
  test("EOS ids: generation_config, else config, else the tokenizer; one or a list", async () => {
    const all = {
      "tokenizer_config.json": config,
      "config.json": { eos_token_id: 2 },
      "generation_config.json": { eos_token_id: [7, 2] },
    };
    expect((await special(all)).eosIds).toEqual([7, 2]);
    expect((await special({ ...all, "generation_config.json": { max_length: 5 } })).eosIds).toEqual([2]);
    expect(
      (await special({ ...all, "generation_config.json": { eos_token_id: null }, "config.json": {} })).eosIds,
    ).toEqual([2]);
    expect((await special({ "tokenizer.json": {} })).eosIds).toEqual([]);
  });
  test("texts from tokenizer_config.json, else special_tokens_map.json; null there means none", async () => {
    expect(await special({ "tokenizer_config.json": config })).toEqual({
      bosToken: "<s>",
      bosId: 1,
      eosToken: "</s>",
      eosIds: [2],
      padToken: undefined,
    });
    const map = { "special_tokens_map.json": { bos_token: { content: "<s>" }, pad_token: "</s>" } };
    expect(await special(map)).toMatchObject({ bosToken: "<s>", bosId: 1, padToken: "</s>", eosToken: undefined });
    expect((await special({ ...map, "tokenizer_config.json": { bos_token: null } })).bosToken).toBeUndefined();
  });
  test("the 10^30 of many tokenizer_config.json does no harm", async () => {
    const text = '{"bos_token": "<s>", "model_max_length": 1000000000000000019884624838656}';
    expect((await special({ "tokenizer_config.json": text })).bosId).toBe(1);
  });
  test.each([
    ["a token outside the vocabulary", { "tokenizer_config.json": { eos_token: "<end>" } }],
    ["a token that is a number", { "tokenizer_config.json": { eos_token: 5 } }],
    ["an id that is a string", { "config.json": { eos_token_id: "2" } }],
    ["an id below zero", { "generation_config.json": { eos_token_id: [-1] } }],
    ["a config that is no JSON", { "config.json": "{" }],
    ["a config that is an array", { "config.json": "[]" }],
  ])("%s is refused", async (_, contents) => {
    await expect(special(contents)).rejects.toThrow(expect.objectContaining({ code: "TOKENIZER_INVALID" }));
  });
  test("without tokenizer.json there is no tokenizer", async () => {
    await expect(readTokenizerFolder(memoryFiles({}), "m")).rejects.toThrow(
      expect.objectContaining({ code: "FILE_MISSING" }),
    );
  });
});
