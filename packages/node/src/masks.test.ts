// Loss masks of real tokenizers, end to end: template, offsets, labels.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  compileTemplate,
  IGNORED,
  makeBatch,
  type Message,
  readRow,
  tokenizeRow,
  type TokenizeOptions,
} from "@tunesmith/data";
import { parseStrictJson, type JsonObject } from "@tunesmith/core";
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
