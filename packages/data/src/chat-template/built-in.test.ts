import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type JsonObject, parseStrictJson } from "@tunesmith/core";
import { describe, expect, test } from "vitest";
import { readAlpaca } from "../formats/alpaca.ts";
import type { Message } from "../formats/row.ts";
import { BUILT_IN_TEMPLATES, type BuiltInTemplate, builtInTemplate } from "./built-in.ts";
import { compileTemplate, type RenderInput } from "./template.ts";

const input = (messages: readonly (Message | JsonObject)[], extra: Partial<RenderInput> = {}): RenderInput => ({
  messages,
  addGenerationPrompt: false,
  bosToken: "<s>",
  eosToken: "</s>",
  now: new Date(0),
  ...extra,
});
const turns: Message[] = [
  { role: "user", content: "A" },
  { role: "assistant", content: "B 🦊" },
  { role: "user", content: "C" },
  { role: "assistant", content: "D" },
];
const withSystem: Message[] = [{ role: "system", content: "S" }, ...turns];

/** What each renders, with the trained parts in brackets. */
const EXPECTED: { readonly [T in BuiltInTemplate]: string } = {
  chatml:
    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n⟦B 🦊<|im_end|>\n⟧<|im_start|>user\nC<|im_end|>\n<|im_start|>assistant\n⟦D<|im_end|>\n⟧",
  llama3:
    "<s><|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nA<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n⟦B 🦊<|eot_id|>⟧<|start_header_id|>user<|end_header_id|>\n\nC<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n⟦D<|eot_id|>⟧",
  llama2: "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nA [/INST]⟦ B 🦊 </s>⟧<s>[INST] C [/INST]⟦ D </s>⟧",
  mistral: "<s>[INST] A[/INST]⟦ B 🦊</s>⟧[INST] S\n\nC[/INST]⟦ D</s>⟧",
  gemma:
    "<s><start_of_turn>user\nA<end_of_turn>\n<start_of_turn>model\n⟦B 🦊<end_of_turn>\n⟧<start_of_turn>user\nC<end_of_turn>\n<start_of_turn>model\n⟦D<end_of_turn>\n⟧",
  phi3: "<|system|>\nS<|end|>\n<|user|>\nA<|end|>\n<|assistant|>\n⟦B 🦊<|end|>\n⟧<|user|>\nC<|end|>\n<|assistant|>\n⟦D<|end|>\n</s>⟧",
  zephyr: "<|system|>\nS</s>\n<|user|>\nA</s>\n<|assistant|>\n⟦B 🦊</s>\n⟧<|user|>\nC</s>\n<|assistant|>\n⟦D</s>\n⟧",
  tagged:
    "<|system|>\nS<|end|>\n<|user|>\nA<|end|>\n<|assistant|>\n⟦B 🦊<|end|>\n⟧<|user|>\nC<|end|>\n<|assistant|>\n⟦D<|end|>\n⟧",
  alpaca: "S\n\n### Instruction:\nA\n\n### Response:\n⟦B 🦊</s>⟧\n\n### Instruction:\nC\n\n### Response:\n⟦D</s>⟧",
};

describe.each(BUILT_IN_TEMPLATES)("%s", (name) => {
  const template = builtInTemplate(name)!;
  test("text and trained parts", () => {
    const { text, spans } = template.renderWithSpans(input(name === "gemma" ? turns : withSystem));
    let marked = text;
    for (const [start, end] of spans.toReversed()) {
      marked = `${marked.slice(0, start)}⟦${marked.slice(start, end)}⟧${marked.slice(end)}`;
    }
    expect(marked).toBe(EXPECTED[name]);
  });
  test("a generation prompt is what an answer continues", () => {
    const prompt = template.render(input(turns.slice(0, 3), { addGenerationPrompt: true }));
    const whole = template.render(input(turns));
    expect(whole.startsWith(prompt)).toBe(true);
    const { spans } = template.renderWithSpans(input(turns));
    expect(spans.at(-1)![0]).toBe(prompt.length);
  });
  test("what it has no form for is refused", () => {
    const refused = (messages: Message[], extra: Partial<RenderInput> = {}): void =>
      expect(() => template.render(input(messages, extra))).toThrow(
        expect.objectContaining({ code: "TEMPLATE_FAILED" }),
      );
    refused(turns, { tools: [new Map([["name", "f"]])] });
    refused([turns[0]!, { role: "assistant", content: "", tool_calls: [] }]);
    refused([turns[0]!, { role: "assistant", content: "", reasoning_content: "Hm" }]);
  });
});
test("a name is one of its own properties", () => expect(builtInTemplate("constructor")).toBeUndefined());

const shared = new URL("../../../../../shared/fixtures/", import.meta.url);
const there = existsSync(shared);
if (!there) console.log(`skipped: built-in templates against public ones, because ${fileURLToPath(shared)} is absent`);
const read = (path: string): string => readFileSync(new URL(path, shared), "utf8");

describe.skipIf(!there)("the text of public templates", () => {
  type Case = { template: string; case: string; add_generation_prompt: boolean; text?: string };
  const golden = there ? (parseStrictJson(read("templates/jinja2_golden.json")) as JsonObject) : new Map();
  const cases = there ? (JSON.parse(read("templates/jinja2_golden.json")) as { cases: Case[] }).cases : [];
  const plain = [
    "one_turn",
    "sft_pair",
    "system_multi_turn",
    "whitespace_unicode",
    "template_syntax_in_content",
    "think_tag",
  ];
  const conversation = (name: string): JsonObject[] =>
    ((golden.get("conversations") as JsonObject).get(name) as JsonObject).get("messages") as JsonObject[];

  test.each<[BuiltInTemplate, string, number]>([
    ["chatml", "trl/qwen3_vl.jinja", 12],
    ["llama3", "trl/llama3.jinja", 12],
    ["mistral", "mistral-common/v3_spm.jinja", 12],
    ["gemma", "trl/gemma.jinja", 10],
    ["phi3", "trl/phi3.jinja", 12],
  ])("%s is %s as jinja2 renders it", (name, file, count) => {
    const own = cases.filter(
      (entry) => entry.template === file && plain.includes(entry.case) && entry.text !== undefined,
    );
    for (const entry of own) {
      const extra = { addGenerationPrompt: entry.add_generation_prompt };
      const text = builtInTemplate(name)!.render(input(conversation(entry.case), extra));
      expect([entry.case, text]).toEqual([entry.case, entry.text]);
    }
    expect(own.length).toBe(count);
  });

  // these files are indented for reading; their authors remove indents and line breaks before use
  test.each<[BuiltInTemplate, string, (text: string) => string]>([
    ["llama2", "llama-2-chat", (text) => text],
    ["zephyr", "zephyr", (text) => text],
    ["tagged", "phi-3", (text) => text],
    ["chatml", "chatml", (text) => `<s>${text}`],
  ])("%s is chujiezheng/%s", (name, file, adapted) => {
    const source = read(`templates/chujiezheng/${file}.jinja`).replaceAll("    ", "").replaceAll("\n", "");
    const public_ = compileTemplate(source, file);
    for (const entry of plain.filter((one) => one !== "whitespace_unicode" || name === "llama2")) {
      for (const addGenerationPrompt of [false, true]) {
        const given = input(conversation(entry), { addGenerationPrompt });
        expect([entry, adapted(builtInTemplate(name)!.render(given))]).toEqual([entry, public_.render(given)]);
      }
    }
  });

  test("alpaca is the text column of the original rows", () => {
    const rows = parseStrictJson(read("data/alpaca/alpaca_tiny.json")) as JsonObject[];
    for (const [i, row] of rows.entries()) {
      const { messages } = readAlpaca(row, { path: "alpaca_tiny.json", row: i + 1 });
      const { text, spans } = builtInTemplate("alpaca")!.renderWithSpans(input(messages, { eosToken: "" }));
      expect(text).toBe(row.get("text"));
      expect(spans.map(([start, end]) => text.slice(start, end))).toEqual(
        row.get("output") === "" ? [] : [row.get("output")],
      );
    }
    expect(rows.length).toBe(100);
  });
});
