// Loss masks of real tokenizers, end to end: template, offsets, labels.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  BUILT_IN_TEMPLATES,
  type ChatTemplate,
  compileTemplate,
  IGNORED,
  labelWeights,
  loadChatTemplates,
  makeBatch,
  type Message,
  readRow,
  tokenizeRow,
  type TokenizeOptions,
  type Tokenizer,
} from "@tunesmith/data";
import { parseStrictJson, type JsonObject } from "@tunesmith/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nodeFiles } from "./files.ts";
import { loadTokenizer } from "./tokenizer.ts";

const at = { path: "golden", line: 1 };
const options = {
  trainOn: "assistant",
  maxLength: 1e5,
  overlong: "error",
  appendEos: true,
  vocabSize: 2 ** 20,
  now: new Date(0),
} as const satisfies Partial<TokenizeOptions>;

const fixtures = new URL("../../../fixtures/masks/", import.meta.url);
const golden = JSON.parse(readFileSync(new URL("golden.json", fixtures), "utf8")) as {
  templates: Record<string, string>;
  conversations: Record<string, Message[]>;
  cases: { tokenizer: string; template: string; conversation: string; input_ids: number[]; assistant_mask: string }[];
};

describe.each(["byte_level", "metaspace"])("ids and masks of transformers, %s tokenizer", async (name) => {
  const tokenizer = await loadTokenizer(nodeFiles(), fileURLToPath(new URL(name, fixtures)));
  const cases = golden.cases.filter((entry) => entry.tokenizer === name);
  let beyond = 0;
  test.each(cases)("$template $conversation", async (entry) => {
    const template = compileTemplate(golden.templates[entry.template]!, entry.template);
    const messages = golden.conversations[entry.conversation]!;
    const { pieces } = await tokenizeRow({ kind: "conversation", messages }, at, {
      ...options,
      tokenizer,
      templates: { default: template },
    });
    const { inputIds, targets } = pieces[0]!;
    expect([...inputIds]).toEqual(entry.input_ids);
    const text = template.render({
      messages,
      addGenerationPrompt: false,
      bosToken: "<s>",
      eosToken: "</s>",
      now: new Date(0),
    });
    const { ends } = await tokenizer.encode(text, { addSpecialTokens: false });
    for (let t = 1; t < inputIds.length; t++) {
      const [ours, theirs] = [targets[t - 1] !== IGNORED, entry.assistant_mask[t] === "1"];
      // transformers ends a span at the *first* token of its last character: the other bytes of a last emoji go untrained
      const restOfCharacter = ends[t] === ends[t - 1] && targets[t - 2] !== IGNORED;
      if (ours !== theirs) expect([t, ours, restOfCharacter]).toEqual([t, true, true]);
      beyond += ours !== theirs ? 1 : 0;
    }
  });
  test("the known difference is as large as it was", () => {
    expect([cases.length, beyond]).toEqual([27, 4]);
  });
});

describe.each(["byte_level", "metaspace"])("for any conversation, %s tokenizer", async (name) => {
  const tokenizer = await loadTokenizer(nodeFiles(), fileURLToPath(new URL(name, fixtures)));
  const special = { bosToken: "<s>", eosToken: "</s>" };
  test("exactly the tokens that overlap a trained turn are trained, with its weight, and ids are those of the joined text", async () => {
    const content = fc.string({
      unit: fc.constantFrom("a", " ", "<", "e\u0301", "🦊", "👨‍👩‍👧", "é", "\n", "한", "</s"),
      minLength: 1,
      maxLength: 12,
    });
    const turn = fc.tuple(content, content, fc.constantFrom(undefined, 0, 0.5, 1));
    const kind = fc.constantFrom(...BUILT_IN_TEMPLATES.filter((one) => one !== "mistral"));
    await fc.assert(
      fc.asyncProperty(fc.array(turn, { minLength: 1, maxLength: 3 }), kind, async (turns, spec) => {
        const messages = turns.flatMap(([question, answer, weight]): Message[] => [
          { role: "user", content: question },
          { role: "assistant", content: answer, ...(weight === undefined ? {} : { weight }) },
        ]);
        const { default: template } = (await loadChatTemplates(nodeFiles(), { folder: ".", spec }))!;
        const { text, spans } = template.renderWithSpans({
          messages,
          ...special,
          addGenerationPrompt: false,
          now: new Date(0),
        });
        const given = { ...options, tokenizer, templates: { default: template } };
        const { pieces, tokens } = await tokenizeRow({ kind: "conversation", messages }, at, given);
        const { ids, starts, ends } = await tokenizer.encode(text, { addSpecialTokens: false });
        expect(tokens).toBe(ids.length);
        const weightOf = (t: number): number =>
          Math.max(
            0,
            ...spans.map(([start, end], i) =>
              starts[t]! < end && ends[t]! > start && ends[t]! > starts[t]! ? (turns[i]![2] ?? 1) : 0,
            ),
          );
        const expected = Array.from(ids, (_, t) => (t === 0 ? 0 : weightOf(t)));
        if (pieces.length === 0) {
          expect(expected.every((weight) => weight === 0)).toBe(true);
          return;
        }
        const { inputIds, targets, targetWeights } = pieces[0]!;
        expect([...inputIds]).toEqual([...ids]);
        for (let t = 1; t < ids.length; t++) {
          // a token without text of its own, or one whose text a normalizer moved, is another test's business
          if (ends[t] === starts[t] || /\p{Mark}/u.test(text.slice(ends[t - 1], ends[t]! + 1))) continue;
          expect([t, targetWeights[t - 1], targets[t - 1]]).toEqual([
            t,
            expected[t],
            expected[t] === 0 ? IGNORED : ids[t],
          ]);
        }
        expect([targets.at(-1), targetWeights.at(-1)]).toEqual([IGNORED, 0]);
      }),
      { numRuns: 150, seed: 20261121 },
    );
  });
});

const shared = new URL("../../../../shared/fixtures/", import.meta.url);
const there = existsSync(shared);
if (!there)
  console.log(`skipped: tokenized conversations of other libraries, because ${fileURLToPath(shared)} is absent`);
const readShared = (path: string): string => readFileSync(new URL(path, shared), "utf8");

describe.skipIf(!there)("tokenized conversations of other libraries", () => {
  test.each(["tokenized", "tokenized_llama2chat"])(
    "axolotl %s: its labels, shifted once, are the answers",
    async (name) => {
      const tokenizer = await loadTokenizer(nodeFiles(), fileURLToPath(new URL("tokenizers/llama2", shared)));
      const text = readShared(`data/small/axolotl_conversation.${name}.json`);
      const { labels, attention_mask } = JSON.parse(text) as { labels: number[]; attention_mask: (number | boolean)[] };
      const row = readRow("tokens", parseStrictJson(text) as JsonObject, at);
      const { pieces } = await tokenizeRow(row, at, { ...options, tokenizer });
      const batch = makeBatch([{ ...pieces[0]!, task: "t", row: 0 }], { packing: true, tasks: ["t"] });
      expect(batch.tokens).toBe(attention_mask.filter(Boolean).length);
      expect(batch.taskTargets[0]).toBe(labels.slice(1).filter((label) => label !== IGNORED).length);
      expect(Array.from(batch.targets).slice(0, -1)).toEqual(labels.slice(1));
      const trained = await tokenizer.decode(
        batch.targets.filter((target) => target !== IGNORED),
        { skipSpecialTokens: true },
      );
      const { conversations } = JSON.parse(readShared("data/small/axolotl_conversation.json")) as {
        conversations: { from: string; value: string }[];
      };
      const bare = (value: string): string => value.replace(/\s+|<\/s>/g, "");
      expect(bare(trained)).toBe(
        bare(
          conversations
            .filter((turn) => turn.from === "gpt")
            .map((turn) => turn.value)
            .join(""),
        ),
      );
    },
  );

  type Golden = { input_ids: number[]; labels: number[]; attention_mask: (number | boolean)[] };
  const goldenOf = (name: string): { ids: number[]; labels: number[] } => {
    const all = JSON.parse(readShared(`data/small/axolotl_conversation.${name}.json`)) as Golden;
    const real = all.attention_mask.filter(Boolean).length;
    return { ids: all.input_ids.slice(0, real), labels: all.labels.slice(0, real) };
  };
  /** The conversation that axolotl tokenized, by our own road; labels unshifted. */
  const ours = async (tokenizer: Tokenizer, system: string, template: ChatTemplate) => {
    const { conversations } = JSON.parse(readShared("data/small/axolotl_conversation.json")) as object & {
      conversations: object[];
    };
    const row = readRow("sharegpt", parseStrictJson(JSON.stringify({ conversations, system })) as JsonObject, at);
    const { pieces } = await tokenizeRow(row, at, { ...options, tokenizer, templates: { default: template } });
    const { inputIds, targets } = pieces[0]!;
    return { ids: [...inputIds], labels: [IGNORED, ...targets.slice(0, -1)] };
  };

  test("axolotl, Llama 2 form: the built-in template gives its ids and labels, but for the one it adds at the end", async () => {
    const tokenizer = await loadTokenizer(nodeFiles(), fileURLToPath(new URL("tokenizers/llama2", shared)));
    const golden = goldenOf("tokenized_llama2chat");
    const text = await tokenizer.decode(golden.ids, { skipSpecialTokens: false });
    const system = /<<SYS>>\n([^]*?)\n<<\/SYS>>/.exec(text)![1]!;
    const { default: template } = (await loadChatTemplates(nodeFiles(), { folder: ".", spec: "llama2" }))!;
    // allow-list: 1. a <s> behind the last answer, as if another turn followed, and trained
    expect([golden.ids.pop(), golden.labels.pop()]).toEqual([1, 1]);
    expect(await ours(tokenizer, system, template)).toEqual(golden);
  });

  test("axolotl, Vicuna form: labels are equal, but where it encodes turns apart", async () => {
    const tokenizer = await loadTokenizer(nodeFiles(), fileURLToPath(new URL("tokenizers/llama2", shared)));
    const golden = goldenOf("tokenized");
    const system =
      "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions. ";
    const template = compileTemplate(
      "{{ bos_token + messages[0].content }}{% for m in messages[1:] %}{% if m.role == 'user' %}{{ ' USER: ' + m.content + ' ' }}{% else %}{{ ' ASSISTANT:' }}{% generation %}{{ ' ' + m.content + eos_token }}{% endgeneration %}{% endif %}{% endfor %}",
      "vicuna",
    );
    const { ids, labels } = await ours(tokenizer, system, template);
    const token = (id: number, label: number): string => `${label === IGNORED ? "-" : "+"}${tokenizer.idToToken(id)!}`;
    const line = (one: { ids: number[]; labels: number[] }): string =>
      one.ids.map((id, t) => token(id, one.labels[t]!)).join("|");
    // allow-list: 1. it writes </s> into the text and encodes that as three trained tokens, which eat the full stop
    const written = line(golden).replaceAll("|+.</|+s|+>|+</s>", "|+.|+</s>");
    // 2. it encodes every turn by itself, which drops a space behind </s>; in the joined text that space is there
    const joined = written.replaceAll("+</s>|-▁US", "+</s>|-▁|-▁US");
    expect([
      golden.ids.length - written.split("|").length,
      joined.split("|").length - written.split("|").length,
    ]).toEqual([12, 5]);
    expect(line({ ids, labels })).toBe(joined);
  });

  test("axolotl: spans over its own tokens give its labels, all of them", async () => {
    const tokenizer = await loadTokenizer(nodeFiles(), fileURLToPath(new URL("tokenizers/llama2", shared)));
    const { ids, labels } = goldenOf("tokenized");
    const byte = (token: string): string =>
      token.replace(/^<0x([\dA-F]{2})>$/, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
    const pieces = ids.map((id) => byte(tokenizer.idToToken(id)!).replaceAll("▁", " "));
    const ends: number[] = [];
    let text = "";
    for (const piece of pieces) ends.push((text += piece).length);
    const starts = ends.map((end, t) => end - pieces[t]!.length);
    const spans = [...text.matchAll(/(?<= ASSISTANT:).*?<\/s><\/s>/gs)].map((match) => ({
      start: match.index,
      end: match.index + match[0].length,
      weight: 1,
    }));
    const encoding = { ids: Int32Array.from(ids), starts: Int32Array.from(starts), ends: Int32Array.from(ends) };
    const weights = labelWeights(text, encoding, spans);
    expect(spans.length).toBe(6);
    expect(ids.map((id, t) => (weights[t] === 0 ? IGNORED : id))).toEqual(labels);
  });

  test.each(["no_tools", "parallel_calls", "several_calls"])(
    "mistral-common %s: template and tokenizer give its ids",
    async (name) => {
      const tokenizer = await loadTokenizer(nodeFiles(), fileURLToPath(new URL("tokenizers/mistral-v3", shared)));
      const folder = `templates/mistral_common_samples/${name}`;
      const row = parseStrictJson(readShared(`${folder}/sample.json`)) as JsonObject;
      const text = compileTemplate(readShared("templates/mistral-common/v3.jinja"), "v3").render({
        messages: row.get("messages") as JsonObject[],
        tools: row.get("tools") as JsonObject[] | undefined,
        addGenerationPrompt: false,
        bosToken: "<s>",
        eosToken: "</s>",
        now: new Date(0),
      });
      const { tokens } = JSON.parse(readShared(`${folder}/tokens_v3.json`)) as { tokens: number[] };
      expect([...(await tokenizer.encode(text, { addSpecialTokens: false })).ids]).toEqual(tokens);
    },
  );
});
