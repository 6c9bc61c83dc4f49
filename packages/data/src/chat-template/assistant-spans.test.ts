import { describe, expect, test } from "vitest";
import type { Message } from "../formats/row.ts";
import { builtInTemplate } from "./built-in.ts";
import { assistantSpans, type SpanInput } from "./assistant-spans.ts";
import { compileTemplate } from "./template.ts";

const special = { bosToken: "<s>", bosId: 0, eosToken: "</s>", eosIds: [1], padToken: undefined };
const conversation: Message[] = [
  { role: "system", content: "S" },
  { role: "user", content: "A 🦊" },
  { role: "assistant", content: "B" },
  { role: "user", content: "C" },
  { role: "assistant", content: "D" },
];
function spans(source: string, wanted: number[], extra: Partial<SpanInput> & { each?: boolean } = {}): string[] {
  const { each = true, ...rest } = extra;
  const input = { template: compileTemplate(source, "t"), messages: conversation, special, now: new Date(0), ...rest };
  const result = assistantSpans(input, wanted, { each });
  return result.spans.map(({ span: [start, end], message }) => `${message}:${result.text.slice(start, end)}`);
}
const CHATML =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

describe("by prefixes", () => {
  test("an answer runs from the generation prompt through the turn's end", () => {
    expect(spans(CHATML, [2, 4])).toEqual(["2:B<|im_end|>\n", "4:D<|im_end|>\n"]);
    expect(spans(CHATML, [4])).toEqual(["4:D<|im_end|>\n"]);
  });
  test("a template without generation prompt (Llama 2 form)", () => {
    const source =
      "{% for m in messages %}{% if m.role == 'assistant' %}{{ ' ' + m.content + ' ' + eos_token }}{% else %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}{% endif %}{% endfor %}";
    expect(spans(source, [2, 4])).toEqual(["2: B </s>", "4: D </s>"]);
  });
  test("tool turns between two answers", () => {
    const messages: Message[] = [
      { role: "user", content: "A" },
      { role: "assistant", content: "call" },
      { role: "tool", content: "5" },
      { role: "assistant", content: "five" },
    ];
    expect(spans(CHATML, [1, 3], { messages })).toEqual(["1:call<|im_end|>\n", "3:five<|im_end|>\n"]);
  });

  test("a template whose prefixes do not nest, and that writes what a built-in one writes", () => {
    const untagged = builtInTemplate("phi3")!.source.replaceAll(/\{%-? (end)?generation %\}/g, "");
    expect(compileTemplate(untagged, "t").hasGenerationTags).toBe(false);
    // it ends every text in </s>, so that the text of the first turns alone is no prefix of the whole
    expect(spans(untagged, [2, 4])).toEqual(["2:B<|end|>\n", "4:D<|end|>\n</s>"]);
    expect(spans(untagged, [2, 4], { each: false })).toEqual(["2:B<|end|>\n", "4:D<|end|>\n</s>"]);
    expect(() => spans(untagged.replaceAll("end|>", "stop|>"), [2, 4])).toThrow(unstable(/later messages change/));
  });

  const unstable = (because: RegExp): unknown =>
    expect.objectContaining({ code: "TEMPLATE_UNSTABLE", message: expect.stringMatching(because) as string });
  test("a template that drops earlier thoughts is refused, except for the last turn", () => {
    const source = CHATML.replace("m.content", "(m.content if loop.last or m.role != 'assistant' else '…')");
    expect(() => spans(source, [2, 4])).toThrow(unstable(/message 2 wrote: later messages change/));
    expect(spans(source, [4])).toEqual(["4:D<|im_end|>\n"]);
  });
  test("a generation prompt that the answer does not continue is refused", () => {
    const source = CHATML.replace("assistant\\n' }}{% endif", "assistant\\n<think>' }}{% endif");
    expect(() => spans(source, [4])).toThrow(unstable(/does not continue/));
  });
  test("a template that cannot render the first messages alone is refused", () => {
    const source = CHATML + "{% if messages|length < 5 %}{{ raise_exception('too short') }}{% endif %}";
    expect(() => spans(source, [4])).toThrow(unstable(/first 4 messages/));
  });
  test("a conversation that starts with an answer is refused", () => {
    const messages: Message[] = [{ role: "assistant", content: "B" }];
    expect(() => spans(CHATML, [0], { messages })).toThrow(unstable(/starts with it/));
  });
});

describe("by generation tags", () => {
  const tagged =
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }};{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
  test("one span per assistant message, in order", () => {
    expect(spans(tagged, [2, 4])).toEqual(["2:B;", "4:D;"]);
    expect(spans(tagged, [4])).toEqual(["4:D;"]);
  });
  test("spans that no message owns alone serve where all are trained alike, and only there", () => {
    const twice = tagged.replace("{{ m.content }};", "{{ m.content }}{% endgeneration %}-{% generation %};");
    expect(spans(twice, [2, 4], { each: false })).toEqual(["undefined:B", "undefined:;", "undefined:D", "undefined:;"]);
    for (const [wanted, each] of [
      [[2, 4], true],
      [[4], false],
    ] as const) {
      expect(() => spans(twice, [...wanted], { each })).toThrow(expect.objectContaining({ code: "TEMPLATE_UNSTABLE" }));
    }
  });
});
