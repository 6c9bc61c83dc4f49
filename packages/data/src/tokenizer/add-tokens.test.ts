import { describe, expect, test } from "vitest";
import { addSpecialTokens } from "./add-tokens.ts";

const token = (id: number, content: string): object => ({ id, content, special: true });
const tokenizer = (vocab: object, added: object[] = [token(2, "<s>")]): string =>
  JSON.stringify({ version: "1.0", added_tokens: added, model: { type: "BPE", vocab, merges: [] } });
const vocab = { a: 0, b: 1, "<s>": 2, "<word>": 3 };
const add = (text: string, ...tokens: string[]) => addSpecialTokens({ tokenizer: text, config: undefined }, tokens);
const addedOf = (text: string): [number, string, boolean][] =>
  (JSON.parse(text) as { added_tokens: { id: number; content: string; special: boolean }[] }).added_tokens.map(
    ({ id, content, special }) => [id, content, special],
  );

describe("addSpecialTokens", () => {
  test("new tokens follow the largest id, in the order given, each once", () => {
    const grown = add(tokenizer(vocab, [token(2, "<s>"), token(9, "<far>")]), "<x>", "<y>", "<x>", "<s>");
    expect([grown.added, grown.firstId]).toEqual([["<x>", "<y>"], 10]);
    expect(addedOf(grown.tokenizer)).toEqual([
      [2, "<s>", true],
      [9, "<far>", true],
      [10, "<x>", true],
      [11, "<y>", true],
    ]);
  });
  test("a word of the vocabulary keeps its id and becomes special", () => {
    const grown = add(tokenizer(vocab), "<word>");
    expect([grown.added, addedOf(grown.tokenizer)]).toEqual([
      [],
      [
        [2, "<s>", true],
        [3, "<word>", true],
      ],
    ]);
  });
  test("once more changes nothing", () => {
    const once = add(tokenizer(vocab), "<x>");
    expect(add(once.tokenizer, "<x>")).toMatchObject({ added: [], tokenizer: once.tokenizer, firstId: 5 });
  });
  test("unigram vocabularies count places; keys like __proto__ are words", () => {
    const unigram = JSON.stringify({
      model: {
        type: "Unigram",
        vocab: [
          ["<unk>", 0],
          ["a", -1.5],
        ],
      },
    });
    expect(add(unigram, "<x>")).toMatchObject({ added: ["<x>"], firstId: 2 });
    expect(add('{"model": {"vocab": {"a": 0, "__proto__": 1}}}', "<x>", "constructor")).toMatchObject({
      added: ["<x>", "constructor"],
      firstId: 2,
    });
  });
  test("tokenizer_config.json lists them where it lists any", () => {
    const config =
      '{"added_tokens_decoder": {"2": {"content": "<s>"}}, "model_max_length": 1000000000000000019884624838656}';
    const grown = addSpecialTokens({ tokenizer: tokenizer(vocab), config }, ["<x>"]);
    expect(JSON.parse(grown.config!)).toMatchObject({
      added_tokens_decoder: { "2": { content: "<s>" }, "4": { content: "<x>", special: true } },
      model_max_length: 1e30,
    });
  });
  test.each(["{}", '{"model": {}}', '{"model": {"vocab": {"a": "x"}}}'])("%s is no tokenizer", (text) => {
    expect(() => add(text, "<x>")).toThrow(expect.objectContaining({ code: "TOKENIZER_INVALID" }));
  });
});
