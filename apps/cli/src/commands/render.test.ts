import { describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";

const CHATML =
  "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
const TAGGED =
  "{{ bos_token }}{% for m in messages %}{{ m.role }}:{% generation %}{{ m.content }}{% endgeneration %};{% endfor %}";
const MESSAGES = [
  { role: "user", content: "Hi 🦊" },
  { role: "assistant", content: "né 🐢" },
];

describe("one conversation", () => {
  const cwd = folderWith({
    "t.jinja": CHATML,
    "list.json": JSON.stringify(MESSAGES),
    "map.json": JSON.stringify({ messages: MESSAGES }),
  });
  test.each(["list.json", "map.json"])("%s: text, and the assistant's spans in code points", async (file) => {
    const result = await runCli(["render", "--chat-template", "t.jinja", "--messages", file, "--json"], { cwd });
    const text = "<|user|>Hi 🦊<|end|>\n<|assistant|>né 🐢<|end|>\n";
    // from the generation prompt to the end of the turn; the fox before it is one code point, two code units.
    // Without a tokenizer no token is known to end a turn, so the line break is the assistant's as well
    const points = [...text];
    const start = points.join("").indexOf("né") - 1;
    expect(result.document()).toEqual({ text, spans: [[start, points.length]] });
    expect(result.exitCode).toBe(0);
  });
  test("without --json the text alone, as it is", async () => {
    const { stdout } = await runCli(
      ["render", "--chat-template", "t.jinja", "--messages", "list.json", "--add-generation-prompt"],
      { cwd },
    );
    expect(stdout).toBe("<|user|>Hi 🦊<|end|>\n<|assistant|>né 🐢<|end|>\n<|assistant|>\n");
  });
  test.each([
    [["--messages", "list.json"], "FLAG_MISSING"],
    [["--messages", "list.json", "--chat-template", "none.jinja"], "TEMPLATE_MISSING"],
    [["--messages", "t.jinja", "--chat-template", "t.jinja"], "JSON_INVALID"],
    [["--messages", "none.json", "--chat-template", "t.jinja"], "FILE_MISSING"],
  ])("%j fails with %s", async (args, code) => {
    const result = await runCli(["render", ...args, "--json"], { cwd });
    expect(result.exitCode).toBe(2);
    expect(result.document().error.code).toBe(code);
  });
});

describe("--batch", () => {
  const rows = [
    { template: TAGGED, messages: MESSAGES, bos_token: "<s>" },
    { messages: MESSAGES.slice(0, 1), add_generation_prompt: true },
    { template: "{{ strftime_now('%Y-%m-%d %H:%M') }}", messages: MESSAGES.slice(0, 1), now: "2025-07-10T12:00:00" },
    { template: "{% for", messages: MESSAGES },
    { template: "{{ raise_exception('no') }}", messages: MESSAGES },
    { messages: [{ role: "robot", content: "x" }] },
    { messages: MESSAGES, now: "yesterday" },
    { messages: MESSAGES, add_generation_prompt: "yes" },
    { messages: MESSAGES, bos_token: 1 },
  ];
  test("one line per row, failures in their own line, in order", async () => {
    const cwd = folderWith({ "t.jinja": CHATML, "b.jsonl": rows.map((row) => JSON.stringify(row)).join("\n") });
    const result = await runCli(["render", "--chat-template", "t.jinja", "--batch", "b.jsonl"], { cwd });
    expect(result.exitCode).toBe(0);
    const lines = result.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.map((line) => line.error?.code ?? line.text)).toEqual([
      "<s>user:Hi 🦊;assistant:né 🐢;",
      "<|user|>Hi 🦊<|end|>\n<|assistant|>",
      "2025-07-10 12:00",
      "TEMPLATE_INVALID",
      "TEMPLATE_FAILED",
      "ROLE_UNKNOWN",
      "INPUT_INVALID",
      "INPUT_INVALID",
      "INPUT_INVALID",
    ]);
    expect(lines[0].spans).toEqual([
      [8, 12],
      [23, 27],
    ]);
    expect(lines[6].error).toMatchObject({ line: 7, received: '"yesterday"' });
  });
  test("a template that hides its turns still gives its text, and says so", async () => {
    const template = "{{ messages | length }}: {{ messages[-1].content }}";
    const cwd = folderWith({ "b.jsonl": JSON.stringify({ template, messages: MESSAGES }) });
    const line = JSON.parse((await runCli(["render", "--batch", "b.jsonl"], { cwd })).stdout);
    expect(line).toMatchObject({ text: "2: né 🐢", spans: [], spans_unknown: expect.stringContaining("cannot tell") });
  });
});
