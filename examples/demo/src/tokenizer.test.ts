import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { assistantSpans, loadChatTemplates, type Message } from "@tunesmith/data";
import { loadTokenizer, nodeFiles } from "@tunesmith/node";
import { describe, expect, test } from "vitest";
import { baseDocument } from "./base-corpus.ts";
import { tuningSet } from "./instructions.ts";
import { tinyConfig, tinyGenerationConfig } from "./model-config.ts";
import { tinyTokenizer, tinyTokenizerConfig } from "./tokenizer.ts";

const folder = fileURLToPath(new URL("../../tiny-base", import.meta.url));
const tokenizer = await loadTokenizer(nodeFiles(), folder);
const templates = (await loadChatTemplates(nodeFiles(), { folder, spec: "auto" }))!;

const pieces = async (text: string, addSpecialTokens: boolean) => {
  const { ids, starts, ends } = await tokenizer.encode(text, { addSpecialTokens });
  return {
    tokens: [...ids].map((id) => tokenizer.idToToken(id)),
    cuts: [...starts].map((start, i) => text.slice(start, ends[i])),
  };
};

test.each([
  ["config.json", tinyConfig()],
  ["generation_config.json", tinyGenerationConfig()],
  ["tokenizer.json", tinyTokenizer()],
  ["tokenizer_config.json", tinyTokenizerConfig()],
])("the committed %s is what the generator writes", (name, value) => {
  expect(JSON.parse(readFileSync(`${folder}/${name}`, "utf8"))).toEqual(value);
});

describe("tokenizer", () => {
  test("has at most 512 entries, and BOS, EOS and PAD are three", () => {
    expect(tokenizer.vocabSize).toBeLessThanOrEqual(512);
    expect(tokenizer.vocabSize).toBe(tinyConfig()["vocab_size"]);
    const { bosId, eosIds, padToken } = tokenizer.special;
    expect(new Set([bosId, ...eosIds, tokenizer.tokenToId(padToken!)]).size).toBe(3);
  });

  test("words are one token, content is letters, and BOS is put in front", async () => {
    const { tokens, cuts } = await pieces(' the old < "tam" =mat', true);
    expect(tokens.join("|")).toBe('<s>|Ġthe|Ġold|Ġ<|Ġ"|t|a|m|"|Ġ=|m|a|t');
    expect(cuts.slice(1).join("|")).toBe(' the| old| <| "|t|a|m|"| =|m|a|t');
  });

  test("any text comes back, and offsets cover it", async () => {
    const text = "Hé 😀 x\n\t“tamelo” e\u0301  end";
    const { ids } = await tokenizer.encode(text, { addSpecialTokens: false });
    expect(await tokenizer.decode(ids, { skipSpecialTokens: true })).toBe(text);
    // the bytes of one character are several tokens with that character's offsets
    const { cuts } = await pieces(text, false);
    expect(cuts.filter((cut, i) => cut !== cuts[i - 1] || !/[^\0-\x7f]/.test(cut)).join("")).toBe(text);
  });

  test("no generated text needs a piece of a word outside its quotation marks", async () => {
    const texts = [
      ...Array.from({ length: 200 }, (_, row) => baseDocument(0, row * 500).prompt),
      ...tuningSet(1, 200).map((row) => ` ${row.prompt}`),
    ];
    for (const text of texts) {
      const { cuts } = await pieces(text.replaceAll(/"[^"]*"/g, '""'), false);
      expect(cuts.filter((cut) => /^[A-Za-z]+$/.test(cut))).toEqual([]);
    }
  });
});

describe("chat template", () => {
  const messages: Message[] = [
    { role: "system", content: "Be brief." },
    { role: "user", content: 'Please reverse "tam".' },
    { role: "assistant", content: "mat" },
  ];
  const { special } = tokenizer;
  const now = new Date(0);

  test("writes the turns, and trains the answer with its end token", () => {
    const { text, spans } = assistantSpans({ template: templates.default, messages, special, now }, [2], {
      each: true,
    });
    expect(text).toBe('<s><|system|> Be brief.<|user|> Please reverse "tam".<|assistant|>mat</s>');
    expect(spans.map(({ span }) => text.slice(...span))).toEqual(["mat</s>"]);
  });

  test("ends in the assistant's token where a generation prompt is asked for", () => {
    const { bosToken, eosToken, padToken } = special;
    const input = { messages: messages.slice(0, 2), tools: undefined, bosToken, eosToken, padToken, now };
    expect(templates.default.render({ ...input, addGenerationPrompt: true })).toMatch(/"tam"\.<\|assistant\|>$/);
  });

  test("refuses roles it does not know", () => {
    const foreign: Message[] = [{ role: "tool", content: "1" }];
    expect(() =>
      assistantSpans({ template: templates.default, messages: foreign, special, now }, [], { each: false }),
    ).toThrow(/system, user and assistant/);
  });
});
