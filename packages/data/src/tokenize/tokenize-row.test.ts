import { describe, expect, test } from "vitest";
import { charTokenizer } from "../../test/char-tokenizer.ts";
import { compileTemplate } from "../chat-template/template.ts";
import type { ConversationRow, Message, Row } from "../formats/row.ts";
import { makeBatch } from "../batch/batch.ts";
import { IGNORED } from "./example.ts";
import type { TokenizedRow } from "./fit.ts";
import { type TokenizeOptions, tokenizeRow } from "./tokenize-row.ts";

const at = { path: "d.jsonl", line: 3 };
const tokenizer = charTokenizer({ addBos: true });
const BOS = 0;
const EOS = 1;
const options = (extra: Partial<TokenizeOptions> = {}): TokenizeOptions => ({
  tokenizer,
  templates: { default: compileTemplate(CHAT, "chat") },
  trainOn: "assistant",
  maxLength: 100,
  overlong: "error",
  appendEos: true,
  vocabSize: 2 ** 21,
  now: new Date(0),
  ...extra,
});
const CHAT =
  "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content + eos_token }}{% else %}{{ '[' + m.content + ']' }}{% endif %}{% endfor %}";
const run = (row: Row, extra: Partial<TokenizeOptions> = {}): Promise<TokenizedRow> =>
  tokenizeRow(row, at, options(extra));

/** Every position as `input>target`, a dot for no target. */
async function picture(row: Row, extra: Partial<TokenizeOptions> = {}): Promise<string> {
  const { pieces } = await run(row, extra);
  const shown = (id: number): string => (id === IGNORED ? "·" : (tokenizer.idToToken(id) ?? "?"));
  return pieces
    .map(({ inputIds, targets }) => Array.from(inputIds, (id, t) => `${shown(id)}>${shown(targets[t]!)}`).join(" "))
    .join(" | ");
}
const pc = (prompt: string, completion: string): Row => ({ kind: "completion", prompt, completion });
const chat = (...messages: Message[]): ConversationRow => ({ kind: "conversation", messages });
const user = (content: string): Message => ({ role: "user", content });
const assistant = (content: string, weight?: number): Message => ({
  role: "assistant",
  content,
  ...(weight === undefined ? {} : { weight }),
});

describe("prompt and completion", () => {
  test("the completion and its EOS are trained; the last position has no target", async () => {
    expect(await picture(pc("ab", "cd"))).toBe("<s>>· a>· b>c c>d d></s> </s>>·");
    expect(await picture(pc("ab", "cd"), { trainOn: "last" })).toBe("<s>>· a>· b>c c>d d></s> </s>>·");
    expect(await picture(pc("ab", "cd"), { trainOn: "completion" })).toBe("<s>>· a>· b>c c>d d></s> </s>>·");
  });
  test("all: the prompt too, never the first token", async () => {
    expect(await picture(pc("ab", "c"), { trainOn: "all" })).toBe("<s>>a a>b b>c c></s> </s>>·");
  });
  test("a completion that merges into the prompt's last token keeps that token", async () => {
    const merging = charTokenizer({ addBos: true, merges: ["bc"] });
    const { pieces } = await run(pc("ab", "cd"), { tokenizer: merging });
    expect([...pieces[0]!.inputIds]).toEqual([BOS, 1097, 2, 1100, EOS]); // <s> a bc d </s>
    expect([...pieces[0]!.targets]).toEqual([IGNORED, 2, 1100, EOS, IGNORED]);
  });
  test("EOS is not doubled: in the text, by post-processing, or where it is not wanted", async () => {
    expect(await picture(pc("a", "b</s>"))).toBe("<s>>· a>b b></s> </s>>·");
    expect(await picture(pc("a", "b"), { tokenizer: charTokenizer({ addBos: true, addEos: true }) })).toBe(
      "<s>>· a>b b></s> </s>>·",
    );
    expect(await picture(pc("a", "b"), { appendEos: false })).toBe("<s>>· a>b b>·");
  });
  test("the first EOS id of the model is appended; any of them ends a completion", async () => {
    const two = charTokenizer({ specials: ["<s>", "</s>", "<end>"], eos: ["<end>", "</s>"], addBos: true });
    expect((await run(pc("a", "b"), { tokenizer: two })).pieces[0]!.inputIds.at(-1)).toBe(2);
    expect((await run(pc("a", "b</s>"), { tokenizer: two })).pieces[0]!.inputIds.at(-1)).toBe(1);
  });
  test("a template is not used", async () => {
    expect(await picture(pc("a", "b"), { templates: undefined })).toBe("<s>>· a>b b></s> </s>>·");
  });
});

test("a tokenizer whose padding token is EOS: the end is trained, padding is not", async () => {
  const padded = { ...tokenizer, special: { ...tokenizer.special, padToken: "</s>" } };
  const short = (await run(pc("a", "b"), { tokenizer: padded })).pieces[0]!;
  const long = (await run(pc("a", "bcdefg"), { tokenizer: padded })).pieces[0]!;
  const examples = [short, long].map((piece, row) => ({ ...piece, task: "t", row }));
  const { targets, inputIds, segmentIds } = makeBatch(examples, { packing: false, tasks: ["t"] });
  expect(targets.filter((target) => target === EOS).length).toBe(2);
  expect([...targets].filter((target, t) => segmentIds[t]! < 0 && target !== IGNORED)).toEqual([]);
  expect(inputIds.length).toBeGreaterThan(short.inputIds.length + long.inputIds.length); // there was padding
});

describe("conversations", () => {
  const two = chat(user("a"), assistant("b"), user("c"), assistant("d"));
  test("assistant: all answers with their ends; special tokens from the template alone", async () => {
    expect(await picture(two)).toBe("<s>>· [>· a>· ]>b b></s> </s>>· [>· c>· ]>d d></s> </s>>·");
  });
  test("last, all, and completion on one turn", async () => {
    expect(await picture(two, { trainOn: "last" })).toBe("<s>>· [>· a>· ]>· b>· </s>>· [>· c>· ]>d d></s> </s>>·");
    expect(await picture(chat(user("a"), assistant("b")), { trainOn: "all" })).toBe("<s>>[ [>a a>] ]>b b></s> </s>>·");
    expect(await picture(chat(user("a"), assistant("b")), { trainOn: "completion" })).toBe(
      "<s>>· [>· a>· ]>b b></s> </s>>·",
    );
  });
  test("prompt and completion as messages: only the completion's answers", async () => {
    expect(await picture({ ...two, completionFrom: 2 })).toBe("<s>>· [>· a>· ]>· b>· </s>>· [>· c>· ]>d d></s> </s>>·");
    expect(await picture({ ...two, completionFrom: 1 }, { trainOn: "last" })).toBe(
      "<s>>· [>· a>· ]>· b>· </s>>· [>· c>· ]>d d></s> </s>>·",
    );
  });
  test("message weights", async () => {
    const { pieces } = await run(chat(user("a"), assistant("b", 0.25), user("c"), assistant("d")));
    expect([...pieces[0]!.targetWeights]).toEqual([0, 0, 0, 0.25, 0.25, 0, 0, 0, 1, 1, 0]);
    expect(await picture(chat(user("a"), assistant("b", 0), user("c"), assistant("d")))).toBe(
      "<s>>· [>· a>· ]>· b>· </s>>· [>· c>· ]>d d></s> </s>>·",
    );
  });
  test("emoji before the answer do not shift the mask", async () => {
    expect(await picture(chat(user("🦊e\u0301"), assistant("ok")))).toBe(
      "<s>>· [>· 🦊>· e>· \u0301>· ]>o o>k k></s> </s>>·",
    );
  });
  test("no answer at all: the row is dropped and counted", async () => {
    expect(await run(chat(user("a")))).toEqual({ pieces: [], tokens: 4, lostTokens: 4, lost: "no_targets" });
    expect(await run(chat(user("a"), assistant("b", 0)))).toMatchObject({ pieces: [], lost: "no_targets" });
  });
  test("tool_use template where tools are given", async () => {
    const templates = { default: compileTemplate("x", "d"), toolUse: compileTemplate(CHAT, "t") };
    expect(await picture({ ...chat(user("a"), assistant("b")), tools: [] }, { templates })).toContain("]>b");
  });
});

describe("tokens", () => {
  const row = (extra: object): Row => ({ kind: "tokens", inputIds: Int32Array.of(5, 6, 7, 8), ...extra });
  test("labels are shifted once; absent, every token is trained", async () => {
    const { pieces } = await run(row({ labels: Int32Array.of(-100, 6, -100, 9) }));
    expect([...pieces[0]!.targets]).toEqual([6, IGNORED, 9, IGNORED]);
    expect([...pieces[0]!.targetWeights]).toEqual([1, 0, 1, 0]);
    expect([...(await run(row({}))).pieces[0]!.targets]).toEqual([6, 7, 8, IGNORED]);
  });
  test("attention_mask 0 is padding: no target there and none predicted from there; positions are kept", async () => {
    const left = await run(row({ attentionMask: Int32Array.of(0, 0, 1, 1), positionIds: Int32Array.of(0, 0, 0, 1) }));
    expect(left.pieces[0]).toMatchObject({
      targets: Int32Array.of(IGNORED, IGNORED, 8, IGNORED),
      segmentIds: Int32Array.of(-1, -1, 0, 0),
      positionIds: Int32Array.of(0, 0, 0, 1),
    });
    const right = await run(row({ attentionMask: Int32Array.of(1, 1, 1, 0), labels: Int32Array.of(5, 6, 7, 8) }));
    expect([...right.pieces[0]!.targets]).toEqual([6, 7, IGNORED, IGNORED]);
  });
  test("positions that start again are sequences of their own", async () => {
    const { pieces } = await run(row({ positionIds: Int32Array.of(0, 1, 0, 1) }));
    expect(pieces[0]).toMatchObject({
      segmentIds: Int32Array.of(0, 0, 1, 1),
      targets: Int32Array.of(6, IGNORED, 8, IGNORED),
    });
    const later = await run(row({ positionIds: Int32Array.of(3, 4, 5, 6) }));
    expect(later.pieces[0]!.segmentIds).toBeUndefined();
  });
  test("a mask of ones is no mask", async () => {
    expect((await run(row({ attentionMask: Int32Array.of(1, 1, 1, 1) }))).pieces[0]!.segmentIds).toBeUndefined();
  });
});

describe("text", () => {
  test("blocks of max_length, all of it trained, EOS at the end", async () => {
    expect(await picture({ kind: "text", text: "abcd" }, { maxLength: 4, trainOn: "completion" })).toBe(
      "<s>>a a>b b>c c>· | d></s> </s>>·",
    );
  });
  test("a block of one token has no target: its token is counted as lost", async () => {
    expect(await run({ kind: "text", text: "abc" }, { maxLength: 4 })).toMatchObject({
      tokens: 5,
      lostTokens: 1,
      lost: "end",
    });
    const alone = await run({ kind: "text", text: "" }, { tokenizer: charTokenizer() });
    expect(alone).toEqual({ pieces: [], tokens: 1, lostTokens: 1, lost: "no_targets" });
  });
});

describe("overlong rows", () => {
  const long = pc("abcdef", "gh"); // 10 tokens
  test("error", async () => {
    await expect(run(long, { maxLength: 9 })).rejects.toThrow(
      expect.objectContaining({ code: "ROW_TOO_LONG", message: expect.stringContaining("d.jsonl:3") as string }),
    );
    expect((await run(long, { maxLength: 10 })).pieces.length).toBe(1);
  });
  test("drop", async () => {
    expect(await run(long, { maxLength: 9, overlong: "drop" })).toEqual({
      pieces: [],
      tokens: 10,
      lostTokens: 10,
      lost: "too_long",
    });
  });
  test("truncate keeps the start; the cut token is no target", async () => {
    expect(await picture(long, { maxLength: 9, overlong: "truncate" })).toBe("<s>>· a>· b>· c>· d>· e>· f>g g>h h>·");
    expect(await run(long, { maxLength: 9, overlong: "truncate" })).toMatchObject({
      tokens: 10,
      lostTokens: 1,
      lost: "end",
    });
  });
  test("truncate that leaves no target drops the row and says so", async () => {
    expect(await run(long, { maxLength: 7, overlong: "truncate" })).toEqual({
      pieces: [],
      tokens: 10,
      lostTokens: 10,
      lost: "no_targets",
    });
  });
  test("truncate cuts positions and segments too", async () => {
    const packed: Row = { kind: "tokens", inputIds: Int32Array.of(5, 6, 7, 8), positionIds: Int32Array.of(0, 1, 0, 1) };
    expect((await run(packed, { maxLength: 3, overlong: "truncate" })).pieces[0]).toEqual({
      inputIds: Int32Array.of(5, 6, 7),
      targets: Int32Array.of(6, IGNORED, IGNORED),
      targetWeights: Float32Array.of(1, 0, 0),
      positionIds: Int32Array.of(0, 1, 0),
      segmentIds: Int32Array.of(0, 0, 1),
    });
  });
});

describe("what is refused, with path and line", () => {
  test.each<[string, Row, Partial<TokenizeOptions>, string]>([
    ["a conversation without a template", chat(user("a")), { templates: undefined }, "TEMPLATE_MISSING"],
    [
      "a conversation the template refuses",
      chat(user("a")),
      { templates: { default: compileTemplate("{{ raise_exception('no') }}", "t") } },
      "TEMPLATE_FAILED",
    ],
    ["an answer without a beginning", chat(assistant("a")), {}, "TEMPLATE_UNSTABLE"],
    [
      "train_on completion with two turns",
      chat(user("a"), assistant("b"), user("c"), assistant("d")),
      { trainOn: "completion" },
      "TRAIN_ON_INVALID",
    ],
    ["train_on all with message weights", chat(user("a"), assistant("b", 2)), { trainOn: "all" }, "TRAIN_ON_INVALID"],
    ["BOS in the data and from the tokenizer", pc("<s>a", "b"), {}, "DOUBLE_BOS"],
    [
      "BOS in the data and from the template",
      chat(user("a"), assistant("b")),
      { templates: { default: compileTemplate("<s>" + CHAT, "t") } },
      "DOUBLE_BOS",
    ],
    ["BOS twice in a text", { kind: "text", text: "<s>a" }, {}, "DOUBLE_BOS"],
    ["BOS twice in ids", { kind: "tokens", inputIds: Int32Array.of(0, 0, 5) }, {}, "DOUBLE_BOS"],
    ["no EOS to append", pc("a", "b"), { tokenizer: charTokenizer({ eos: [] }) }, "EOS_MISSING"],
    ["an id outside the model", pc("a", "b"), { vocabSize: 1098 }, "TOKEN_OUT_OF_RANGE"],
    ["an id outside the model in a text", { kind: "text", text: "ab" }, { vocabSize: 1098 }, "TOKEN_OUT_OF_RANGE"],
    [
      "a label outside the model",
      { kind: "tokens", inputIds: Int32Array.of(5, 6), labels: Int32Array.of(5, 9) },
      { vocabSize: 9 },
      "TOKEN_OUT_OF_RANGE",
    ],
  ])("%s", async (_, row, extra, code) => {
    await expect(run(row, extra)).rejects.toThrow(
      expect.objectContaining({
        code,
        message: expect.stringMatching(/^d\.jsonl:3: /) as string,
        details: expect.objectContaining({ path: "d.jsonl", line: 3 }) as object,
      }),
    );
  });
});
