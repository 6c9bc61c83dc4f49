import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type JsonObject, parseStrictJson } from "@tunesmith/core";
import { describe, expect, test } from "vitest";
import { spansInCodePoints } from "../tokenizer/offsets.ts";
import { compileTemplate, type RenderInput } from "./template.ts";

const now = new Date("2025-07-10T12:00:00Z");
const input = (extra: Partial<RenderInput> = {}): RenderInput => ({
  messages: [
    { role: "user", content: "Hi" },
    { role: "assistant", content: "Ho 🦊" },
  ],
  addGenerationPrompt: false,
  now,
  ...extra,
});
const chat =
  "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ '\\n' }}{% endfor %}";

describe("compileTemplate", () => {
  test("blocks leave no line of their own (trim_blocks, lstrip_blocks)", () => {
    const source = "A\n  {% if true %}\nB\n  {% endif %}\nC";
    expect(compileTemplate(source, "t").render(input())).toBe("A\nB\nC");
  });
  test("what a template may read", () => {
    const source =
      "{{ bos_token }}{{ eos_token }}{{ strftime_now('%d %b') }}{{ tools is none }}{{ range(2)|list }}{{ add_generation_prompt }}";
    expect(
      compileTemplate(source, "t").render(input({ bosToken: "<s>", eosToken: "</s>", addGenerationPrompt: true })),
    ).toBe("<s></s>10 JulTrue[0, 1]True");
    expect(compileTemplate("[{{ bos_token }}]", "t").render(input())).toBe("[]");
  });
  test("tools are JSON, with any key", () => {
    const tools = [parseStrictJson('{"name": "f", "__proto__": {"x": "é<"}}')];
    expect(compileTemplate("{{ tools|tojson }}", "t").render(input({ tools }))).toBe(
      '[{"name": "f", "__proto__": {"x": "é<"}}]',
    );
  });
  test.each([
    ["{{ range(100001) }}", "TEMPLATE_LIMIT"],
    ["{{ range(0, 5, 0) }}", "TEMPLATE_FAILED"],
    ["{{ range(0, -200000, -1) }}", "TEMPLATE_LIMIT"],
  ])("%s is refused", (source, code) => {
    expect(() => compileTemplate(source, "t").render(input())).toThrow(expect.objectContaining({ code }));
  });
  test("raise_exception and syntax errors are typed and name the template", () => {
    const raising = compileTemplate("{{ raise_exception('no system role') }}", "my.jinja");
    expect(() => raising.render(input())).toThrow(
      expect.objectContaining({ code: "TEMPLATE_FAILED", message: "chat template my.jinja: no system role" }),
    );
    expect(() => compileTemplate("{% if %}", "my.jinja")).toThrow(
      expect.objectContaining({ code: "TEMPLATE_INVALID", message: expect.stringContaining("my.jinja") as string }),
    );
  });
});

describe("{% generation %}", () => {
  const template = compileTemplate(chat, "chat");
  test("spans are what the block wrote, in UTF-16", () => {
    const { text, spans } = template.renderWithSpans(input());
    expect(template.hasGenerationTags).toBe(true);
    expect(text).toBe("<user>Hi\n<assistant>Ho 🦊</s>\n");
    expect(spans.map(([start, end]) => text.slice(start, end))).toEqual(["Ho 🦊</s>"]);
    expect(template.render(input())).toBe(text);
  });
  test("private-use characters in the content are content", () => {
    const { text, spans } = template.renderWithSpans(
      input({ messages: [{ role: "assistant", content: "\ue000a\ue001" }] }),
    );
    expect(spans.map(([start, end]) => text.slice(start, end))).toEqual(["\ue000a\ue001</s>"]);
  });
  test("white space control works as on any block", () => {
    const source =
      "a \n {%- generation -%} \n b \n {%- endgeneration -%} \n c{% generation %}\n d\n{% endgeneration %}\ne";
    const { text, spans } = compileTemplate(source, "t").renderWithSpans(input());
    expect(text).toBe("abc d\ne");
    expect(spans).toEqual([
      [1, 2],
      [3, 6],
    ]);
  });
  test("a tag inside a comment is a comment", () => {
    expect(compileTemplate("{# {% generation %} #}x", "t")).toMatchObject({ hasGenerationTags: false });
    expect(compileTemplate("{# {% generation %} #}x", "t").render(input())).toBe("x");
  });
  test.each([
    ["nested", "{% generation %}a{% generation %}b{% endgeneration %}{% endgeneration %}"],
    ["changed after its end", "{% set x %}{% generation %}a {% endgeneration %}{% endset %}{{ x|trim }}{{ x|length }}"],
  ])("a block that is %s is an error, not a wrong mask", (_, source) => {
    expect(() => compileTemplate(source, "t").renderWithSpans(input())).toThrow(
      expect.objectContaining({ code: "TEMPLATE_FAILED" }),
    );
  });
  test.each(["{% generation %}a", "a{% endgeneration %}"])("%s is no template", (source) => {
    expect(() => compileTemplate(source, "t")).toThrow(expect.objectContaining({ code: "TEMPLATE_INVALID" }));
  });
});

const folder = new URL("../../../../../shared/fixtures/templates/", import.meta.url);
const there = existsSync(folder);
if (!there) console.log(`skipped: 124 public templates against jinja2, because ${fileURLToPath(folder)} is absent`);

describe.skipIf(!there)("124 public templates, rendered by jinja2 as transformers sets it up", () => {
  type Case = {
    template: string;
    case: string;
    add_generation_prompt: boolean;
    text?: string;
    error?: string;
    assistant_spans?: [number, number][];
  };
  const golden = there
    ? (parseStrictJson(readFileSync(new URL("jinja2_golden.json", folder), "utf8")) as JsonObject)
    : (new Map() as JsonObject);
  const cases = there
    ? (JSON.parse(readFileSync(new URL("jinja2_golden.json", folder), "utf8")) as { cases: Case[] }).cases
    : [];
  const names = [...new Set(cases.map((entry) => entry.template))];
  test.each(names)("%s", (name) => {
    const template = compileTemplate(readFileSync(new URL(name, folder), "utf8"), name);
    for (const entry of cases.filter((candidate) => candidate.template === name)) {
      const conversation = (golden.get("conversations") as JsonObject).get(entry.case) as JsonObject;
      const run = (): { text: string; spans: (readonly [number, number])[] } =>
        template.renderWithSpans({
          messages: conversation.get("messages") as JsonObject[],
          tools: conversation.get("tools") as JsonObject[] | undefined,
          addGenerationPrompt: entry.add_generation_prompt,
          bosToken: golden.get("bos_token") as string,
          eosToken: golden.get("eos_token") as string,
          now: new Date(`${golden.get("now") as string}Z`),
        });
      if (entry.error !== undefined) {
        expect(run, `${entry.case}: ${entry.error}`).toThrow(expect.objectContaining({ code: "TEMPLATE_FAILED" }));
        continue;
      }
      const { text, spans } = run();
      expect([entry.case, text]).toEqual([entry.case, entry.text]);
      if (entry.assistant_spans === undefined) continue;
      expect([entry.case, spansInCodePoints(text, spans)]).toEqual([entry.case, entry.assistant_spans]);
    }
  });
  test("the golden file is the one this was written for", () => {
    expect([names.length, cases.length, cases.filter((entry) => entry.assistant_spans !== undefined).length]).toEqual([
      124, 1984, 376,
    ]);
  });
});
