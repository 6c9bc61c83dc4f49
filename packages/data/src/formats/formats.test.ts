import { type JsonObject, parseStrictJson } from "@tunesmith/core";
import { describe, expect, test } from "vitest";
import { createRowReader, detectFormat, type Format, formatByName, readRow } from "./formats.ts";

const at = { path: "d.jsonl", line: 7 };
const json = (text: string): JsonObject => parseStrictJson(text) as JsonObject;
const read = (format: Format, text: string): unknown => readRow(format, json(text), at);
const user = '{"role": "user", "content": "Hi"}';
const assistant = '{"role": "assistant", "content": "Ho"}';

describe("what a row means", () => {
  test("messages", () => {
    const text = `{"messages": [${user}, {"role": "assistant", "content": "Ho", "weight": 0.5, "reasoning_content": "Hm"}], "task": "t"}`;
    expect(read("messages", text)).toEqual({
      kind: "conversation",
      messages: [
        { role: "user", content: "Hi" },
        { role: "assistant", content: "Ho", weight: 0.5, reasoning_content: "Hm" },
      ],
      task: "t",
    });
  });
  test("messages with tools: content may be null beside tool calls", () => {
    const call = '{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}';
    const text = `{"messages": [${user}, {"role": "assistant", "content": null, "tool_calls": [${call}]}, {"role": "tool", "content": "2", "tool_call_id": "1", "name": "f"}], "tools": [{"type": "function"}]}`;
    expect(read("messages", text)).toEqual({
      kind: "conversation",
      messages: [
        { role: "user", content: "Hi" },
        { role: "assistant", content: null, tool_calls: [json(call)] },
        { role: "tool", content: "2", tool_call_id: "1", name: "f" },
      ],
      tools: [json('{"type": "function"}')],
    });
  });
  test("prompt_completion, as strings and as messages", () => {
    expect(read("prompt_completion", '{"prompt": "a", "completion": "b"}')).toEqual({
      kind: "completion",
      prompt: "a",
      completion: "b",
    });
    expect(read("prompt_completion", `{"prompt": [${user}], "completion": [${assistant}]}`)).toEqual({
      kind: "conversation",
      messages: [
        { role: "user", content: "Hi" },
        { role: "assistant", content: "Ho" },
      ],
      completionFrom: 1,
    });
  });
  test("tokens", () => {
    expect(
      read("tokens", '{"input_ids": [1, 2], "labels": [-100, 2], "attention_mask": [1, 1], "position_ids": [0, 1]}'),
    ).toEqual({
      kind: "tokens",
      inputIds: Int32Array.of(1, 2),
      labels: Int32Array.of(-100, 2),
      attentionMask: Int32Array.of(1, 1),
      positionIds: Int32Array.of(0, 1),
    });
    expect(read("tokens", '{"input_ids": [1, 2], "attention_mask": [false, true]}')).toMatchObject({
      attentionMask: Int32Array.of(0, 1),
    });
    expect(read("tokens", '{"input_ids": [1]}')).toEqual({ kind: "tokens", inputIds: Int32Array.of(1) });
  });
  test("text", () => {
    expect(read("text", '{"text": "", "task": "books"}')).toEqual({ kind: "text", text: "", task: "books" });
  });
});

describe("other formats become conversations", () => {
  test("openai: text parts, arguments as the text of an object, weights, parallel_tool_calls", () => {
    const call = '{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\\"x\\": [1, \\"é\\"]}"}}';
    const text = `{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"role": "assistant", "content": null, "tool_calls": [${call}], "weight": 0}], "parallel_tool_calls": false}`;
    expect(read("messages", text)).toEqual({
      kind: "conversation",
      messages: [
        { role: "user", content: "ab" },
        {
          role: "assistant",
          content: null,
          weight: 0,
          tool_calls: [
            json('{"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"x": [1, "é"]}}}'),
          ],
        },
      ],
      parallelToolCalls: false,
    });
  });
  test("sharegpt: speakers, tool calls, tools as text, a system column", () => {
    const turns = [
      '{"from": "human", "value": "2 + 2?"}',
      '{"from": "function_call", "value": "{\\"name\\": \\"add\\", \\"arguments\\": {\\"a\\": 2}}"}',
      '{"from": "observation", "value": "4"}',
      '{"from": "gpt", "value": "4.", "weight": 0.5}',
    ];
    const text = `{"id": 7, "conversations": [${turns.join(", ")}], "system": "S", "tools": "[{\\"name\\": \\"add\\"}]", "task": "t"}`;
    expect(read("sharegpt", text)).toEqual({
      kind: "conversation",
      messages: [
        { role: "system", content: "S" },
        { role: "user", content: "2 + 2?" },
        {
          role: "assistant",
          content: "",
          tool_calls: [json('{"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}')],
        },
        { role: "tool", content: "4" },
        { role: "assistant", content: "4.", weight: 0.5 },
      ],
      tools: [json('{"name": "add"}')],
      task: "t",
    });
    expect(read("sharegpt", `{"conversations": [${user}, ${assistant}]}`)).toMatchObject({
      messages: [{ role: "user" }, { role: "assistant" }],
    });
  });
  test("alpaca: the parts stay apart for templates that write them apart", () => {
    expect(read("alpaca", '{"instruction": "Add.", "input": "1, 2", "output": "3", "text": "…"}')).toEqual({
      kind: "conversation",
      messages: [
        { role: "user", content: "Add.\n\n1, 2", instruction: "Add.", input: "1, 2" },
        { role: "assistant", content: "3" },
      ],
    });
    const history = '{"instruction": "c", "output": "d", "system": "S", "history": [["a", "b"]]}';
    expect((read("alpaca", history) as { messages: object[] }).messages).toMatchObject([
      { role: "system", content: "S" },
      { role: "user", content: "a" },
      { role: "assistant", content: "b" },
      { role: "user", content: "c" },
      { role: "assistant", content: "d" },
    ]);
  });
  test("preference pairs are read, as text and as messages", () => {
    expect(read("preference", `{"prompt": "p", "chosen": "a", "rejected": [${assistant}]}`)).toEqual({
      kind: "preference",
      prompt: "p",
      chosen: "a",
      rejected: [{ role: "assistant", content: "Ho" }],
    });
  });

  const message = (text: string, role: string, rest = "", replies: string[] = []): string =>
    `{"message_id": "m", "parent_id": null, "text": "${text}", "role": "${role}"${rest}, "replies": [${replies.join(", ").replaceAll('"parent_id": null', '"parent_id": "m"')}]}`;
  const tree = message("Q", "prompter", ', "lang": "en"', [
    message("A1", "assistant", ', "rank": 1, "lang": "en"', [message("Q1", "prompter", ', "lang": "en"')]),
    message("A0", "assistant", ', "rank": 0, "lang": "en"', [
      message("Q2", "prompter", ', "rank": null, "lang": "en"', [
        message("A2", "assistant", ', "lang": "en"'),
        message("A3", "assistant", ', "rank": 3, "lang": "de"'),
      ]),
    ]),
    message("A4", "assistant", ', "rank": 2, "deleted": true, "lang": "en"'),
  ]);
  const threads = (options: object): string[] =>
    (
      readRow("oasst", json(`{"message_tree_id": "t", "tree_state": "ready", "prompt": ${tree}}`), at, {
        oasst: options,
      }) as unknown as { threads: { messages: { content: string; weight?: number }[] }[] }
    ).threads.map(({ messages }) =>
      messages.map(({ content, weight }) => content + (weight === 0 ? "(0)" : "")).join(" "),
    );
  test("oasst: the best thread, or every thread with each answer trained once", () => {
    expect(threads({})).toEqual(["Q A0 Q2 A3"]); // ranked before unranked
    expect(threads({ threads: "all" })).toEqual(["Q A0 Q2 A3", "Q A0(0) Q2 A2", "Q A1"]);
    expect(threads({ lang: ["en"] })).toEqual(["Q A0 Q2 A2"]);
    expect(threads({ lang: ["fr"] })).toEqual([]);
    expect(readRow("oasst", json(tree), at)).toMatchObject({ kind: "threads", threads: [{ messages: { length: 4 } }] });
  });
});

describe("columns of one's own", () => {
  const wordings = { prompt: ["Translate: {{src}}", "{{ src }} in German?"], completion: "{{ t.de }}" };
  const row = (src: string): JsonObject => json(`{"src": "${src}", "t": {"de": "${src}!"}, "task": "mt"}`);
  test("wordings are drawn by seed and row; the columns of a format come out", () => {
    const reader = createRowReader({ map: wordings, seed: 1 });
    expect(reader.detect(row("a"), at)).toBe("prompt_completion");
    const prompts = (seed: number, path = "x/d.jsonl"): string =>
      Array.from({ length: 40 }, (_, line) => {
        const done = createRowReader({ map: wordings, seed }).read("prompt_completion", row("a"), { path, line });
        const { prompt, completion, task } = done as { prompt: string; completion: string; task: string };
        expect([completion, task]).toEqual(["a!", "mt"]);
        return prompt === "Translate: a" ? "0" : prompt === "a in German?" ? "1" : "?";
      }).join("");
    expect(prompts(1)).toMatch(/^[01]+$/);
    expect(prompts(1).replaceAll("0", "").length).toBeGreaterThan(8);
    expect(prompts(1).replaceAll("1", "").length).toBeGreaterThan(8);
    expect(prompts(1, "y/e.jsonl")).toBe(prompts(1)); // whatever the file is called
    expect(prompts(2)).not.toBe(prompts(1));
  });
  test("columns with several wordings draw the same one", () => {
    const map = { prompt: ["a{{x}}", "b{{x}}"], completion: ["A", "B"] };
    for (let line = 0; line < 20; line++) {
      const { prompt, completion } = createRowReader({ map }).read("prompt_completion", json('{"x": 1.5}'), {
        path: "f",
        line,
      }) as { prompt: string; completion: string };
      expect(["a1.5 A", "b1.5 B"]).toContain(`${prompt} ${completion}`);
    }
  });
  test("a column alone keeps its type; members and indices reach inside", () => {
    const reader = createRowReader({ map: { messages: "{{chat}}" }, ignoreColumns: ["id"] });
    expect(reader.read("messages", json(`{"chat": [${user}], "id": 3}`), at)).toMatchObject({ kind: "conversation" });
    const nested = createRowReader({ map: { prompt: "{{a.0.q}}", completion: "{{a.1}}" } });
    expect(nested.read("prompt_completion", json('{"a": [{"q": "x"}, "y"]}'), at)).toMatchObject({
      prompt: "x",
      completion: "y",
    });
  });
  const fails = (options: object, text: string, code: string, message: RegExp, fix = /./): void =>
    expect(() => createRowReader(options).read("text", json(text), at)).toThrow(
      expect.objectContaining({
        code,
        message: expect.stringMatching(message) as string,
        details: expect.objectContaining({ fix: expect.stringMatching(fix) as string }) as object,
      }),
    );
  test("what is not used, not there, or not clear is an error with a fix", () => {
    const map = { text: "{{a}}" };
    fails({ map }, '{"a": "x", "b": 1, "c": 2}', "COLUMN_UNKNOWN", /"b", "c"/, /ignore_columns: \[b, c\]/);
    fails({ map, ignoreColumns: ["b"] }, '{"a": "x", "b": 1, "c": 2}', "COLUMN_UNKNOWN", /"c"/, /\[b, c\]/);
    fails({ map: { text: "{{article}}" } }, '{"artikle": "x"}', "COLUMN_UNKNOWN", /"artikle"/);
    fails({ map: { text: "{{a.body}}" } }, '{"a": {"bodi": "x"}}', "COLUMN_MISSING", /`a\.body`/, /\{\{a\.bodi\}\}/);
    fails({ map: { text: "<{{a}}>" } }, '{"a": [1]}', "VALUE_INVALID", /`a` is no text/);
    fails({ map: { text: "{{a}" } }, '{"a": "x"}', "MAP_INVALID", /map\.text/);
    fails({ map: { text: "{{ }}" } }, '{"a": "x"}', "MAP_INVALID", /names no column/);
    fails({ map: { text: [] } }, '{"a": "x"}', "MAP_INVALID", /no wording/);
    fails({ map: { a: ["1", "2"], b: ["1", "2", "3"] } }, "{}", "MAP_INVALID", /equally many/);
    fails({}, '{"text": "x", "id": 1}', "COLUMN_UNKNOWN", /"id"/, /ignore_columns/);
    expect(createRowReader({ ignoreColumns: ["id"] }).read("text", json('{"text": "x", "id": 1}'), at)).toMatchObject({
      text: "x",
    });
  });
});

describe("auto", () => {
  test.each<[string, Format]>([
    [`{"messages": []}`, "messages"],
    ['{"completion": "b", "prompt": "a"}', "prompt_completion"],
    ['{"input_ids": [], "task": "x"}', "tokens"],
    ['{"text": "x"}', "text"],
    ['{"text": "x", "colour": 1}', "text"], // reading it then names the unknown column
    ['{"conversations": []}', "sharegpt"],
    ['{"instruction": "", "input": "", "output": ""}', "alpaca"],
    ['{"message_tree_id": "1", "prompt": {}}', "oasst"],
    ['{"message_id": "1", "parent_id": null, "text": "a", "role": "prompter"}', "oasst"],
    ['{"chosen": "a", "rejected": "b", "prompt": "c"}', "preference"],
  ])("%s", (text, format) => expect(detectFormat(json(text), at)).toBe(format));
});

describe("what is refused, each with path:line and a fix", () => {
  const failure = (code: string, message: RegExp, fix = /./, place: object = at): unknown =>
    expect.objectContaining({
      code,
      message: expect.stringMatching(message) as string,
      details: expect.objectContaining({
        ...place,
        ...(fix.source === "." ? {} : { fix: expect.stringMatching(fix) as string }),
      }) as object,
    });
  test.each<[Format, string, string, RegExp, RegExp?]>([
    [
      "messages",
      `{"messages": [${user}], "tool": []}`,
      "COLUMN_UNKNOWN",
      /d\.jsonl:7: a `messages` row has an unknown column "tool"/,
      /did you mean "tools"/,
    ],
    ["messages", `{"messages": [{"role": "user", "contents": "x"}]}`, "COLUMN_UNKNOWN", /messages\[0\]/, /"content"/],
    ["messages", `{"tools": []}`, "COLUMN_MISSING", /"messages"/],
    ["messages", `{"messages": [{"role": "user"}]}`, "COLUMN_MISSING", /messages\[0\] has no column "content"/],
    ["messages", `{"messages": [{"role": "gpt", "content": "x"}]}`, "ROLE_UNKNOWN", /"gpt"/, /"assistant"/],
    ["messages", `{"messages": [{"role": "assistent", "content": "x"}]}`, "ROLE_UNKNOWN", /"assistent"/, /"assistant"/],
    ["messages", `{"messages": []}`, "VALUE_INVALID", /empty/],
    ["messages", `{"messages": "x"}`, "VALUE_INVALID", /not an array/],
    ["messages", `{"messages": ["x"]}`, "VALUE_INVALID", /messages\[0\] is not an object/],
    ["messages", `{"messages": [{"role": "user", "content": 5}]}`, "VALUE_INVALID", /content is not a string/],
    ["messages", `{"messages": [{"role": "assistant", "content": null}]}`, "VALUE_INVALID", /null/],
    ["messages", `{"messages": [{"role": "assistant", "content": "x", "weight": -1}]}`, "VALUE_INVALID", /weight/],
    ["messages", `{"messages": [${user}], "task": ""}`, "VALUE_INVALID", /task/],
    ["prompt_completion", '{"prompt": "a", "completion": ["b"]}', "VALUE_INVALID", /neither both strings/],
    ["prompt_completion", `{"prompt": [], "completion": [${assistant}]}`, "VALUE_INVALID", /no message/],
    ["prompt_completion", '{"prompt": "a", "completion": "b", "tools": []}', "COLUMN_UNKNOWN", /"tools"/],
    ["prompt_completion", '{"prompt": "a", "completion": "\\ud83e"}', "TEXT_INVALID", /lone surrogate/],
    ["text", '{"text": "a", "id": 1}', "COLUMN_UNKNOWN", /"id"/, /remove/],
    ["messages", `{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}`, "VALUE_INVALID", /no text/],
    ["messages", `{"messages": [${user}], "parallel_tool_calls": 1}`, "VALUE_INVALID", /parallel_tool_calls/],
    [
      "messages",
      `{"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{x"}}]}]}`,
      "VALUE_INVALID",
      /arguments is a text/,
    ],
    ["sharegpt", '{"conversations": [{"from": "gtp", "value": "x"}]}', "ROLE_UNKNOWN", /"gtp"/, /"gpt"/],
    ["sharegpt", '{"conversations": []}', "VALUE_INVALID", /empty/],
    ["sharegpt", '{"conversations": [{"from": "gpt", "value": "x", "vote": 1}]}', "COLUMN_UNKNOWN", /"vote"/],
    ["sharegpt", '{"conversations": [{"from": "function_call", "value": "f(x)"}]}', "VALUE_INVALID", /tool call/],
    [
      "sharegpt",
      '{"conversations": [{"from": "system", "value": "x"}], "system": "y"}',
      "VALUE_INVALID",
      /system turn/,
    ],
    ["sharegpt", '{"conversations": [{"from": "gpt", "value": "x"}], "tools": "{"}', "VALUE_INVALID", /tools/],
    ["alpaca", '{"instruction": "a", "ouput": "b"}', "COLUMN_UNKNOWN", /"ouput"/, /"output"/],
    ["alpaca", '{"instruction": "a", "output": "b", "history": [["c"]]}', "VALUE_INVALID", /pair/],
    [
      "oasst",
      '{"message_id": "1", "parent_id": "0", "text": "x", "role": "assistant"}',
      "VALUE_INVALID",
      /parent/,
      /trees/,
    ],
    ["oasst", '{"message_tree_id": "1", "prompt": {"text": "x", "role": "user"}}', "ROLE_UNKNOWN", /"user"/],
    ["preference", '{"chosen": "a", "rejected": 1}', "VALUE_INVALID", /rejected/],
    ["tokens", '{"input_ids": []}', "VALUE_INVALID", /empty/],
    ["tokens", '{"input_ids": [1, -1]}', "VALUE_INVALID", /input_ids\[1\]/],
    ["tokens", '{"input_ids": [1.5]}', "VALUE_INVALID", /input_ids\[0\]/],
    ["tokens", '{"input_ids": [1, 2], "labels": [1]}', "VALUE_INVALID", /1 entries/],
    ["tokens", '{"input_ids": [1], "labels": [-1]}', "VALUE_INVALID", /labels\[0\]/],
    ["tokens", '{"input_ids": [1], "attention_mask": [2]}', "VALUE_INVALID", /attention_mask\[0\]/],
  ])("%s %s", (format, text, code, message, fix) => {
    expect(() => read(format, text)).toThrow(failure(code, message, fix));
  });

  test("names and columns that mean nothing or two things", () => {
    expect(() => formatByName("mesages")).toThrow(failure("FORMAT_UNKNOWN", /"mesages"/, /"messages"/, {}));
    expect(() => formatByName("constructor")).toThrow(failure("FORMAT_UNKNOWN", /"constructor"/, undefined, {}));
    expect(() => detectFormat(json('{"question": "x"}'), at)).toThrow(failure("FORMAT_UNKNOWN", /no known format/));
    expect(() => detectFormat(json('{"text": "x", "messages": []}'), at)).toThrow(
      failure("FORMAT_UNKNOWN", /messages and text/),
    );
    expect(() => detectFormat(json('{"instruction": "a", "output": "b", "text": "c"}'), at)).toThrow(
      failure("FORMAT_UNKNOWN", /alpaca and text/, /format: alpaca or format: text/),
    );
    expect(formatByName("auto")).toBe("auto");
    expect(formatByName("tokens")).toBe("tokens");
  });
});
