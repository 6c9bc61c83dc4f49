import { type JsonObject, parseStrictJson } from "@tunesmith/core";
import { describe, expect, test } from "vitest";
import { detectFormat, type Format, formatByName, readRow } from "./formats.ts";

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

describe("auto", () => {
  test.each<[string, Format]>([
    [`{"messages": []}`, "messages"],
    ['{"completion": "b", "prompt": "a"}', "prompt_completion"],
    ['{"input_ids": [], "task": "x"}', "tokens"],
    ['{"text": "x"}', "text"],
    ['{"text": "x", "colour": 1}', "text"], // reading it then names the unknown column
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
    ["tokens", '{"input_ids": []}', "VALUE_INVALID", /empty/],
    ["tokens", '{"input_ids": [1, -1]}', "VALUE_INVALID", /input_ids\[1\]/],
    ["tokens", '{"input_ids": [1.5]}', "VALUE_INVALID", /input_ids\[0\]/],
    ["tokens", '{"input_ids": [1, 2], "labels": [1]}', "VALUE_INVALID", /1 entries/],
    ["tokens", '{"input_ids": [1], "labels": [-1]}', "VALUE_INVALID", /labels\[0\]/],
    ["tokens", '{"input_ids": [1], "attention_mask": [2]}', "VALUE_INVALID", /attention_mask\[0\]/],
  ])("%s %s", (format, text, code, message, fix) => {
    expect(() => read(format, text)).toThrow(failure(code, message, fix));
  });

  test("formats that exist elsewhere, by name and by their columns", () => {
    expect(() => formatByName("sharegpt")).toThrow(failure("FORMAT_UNSUPPORTED", /"sharegpt"/, /messages/, {}));
    expect(() => detectFormat(json('{"conversations": []}'), at)).toThrow(
      failure("FORMAT_UNSUPPORTED", /d\.jsonl:7.*"sharegpt"/),
    );
    expect(() => detectFormat(json('{"instruction": "", "input": "", "output": ""}'), at)).toThrow(
      failure("FORMAT_UNSUPPORTED", /"alpaca"/),
    );
  });
  test("names and columns that mean nothing or two things", () => {
    expect(() => formatByName("mesages")).toThrow(failure("FORMAT_UNKNOWN", /"mesages"/, /"messages"/, {}));
    expect(() => formatByName("constructor")).toThrow(failure("FORMAT_UNKNOWN", /"constructor"/, undefined, {}));
    expect(() => detectFormat(json('{"question": "x"}'), at)).toThrow(failure("FORMAT_UNKNOWN", /no known format/));
    expect(() => detectFormat(json('{"text": "x", "messages": []}'), at)).toThrow(
      failure("FORMAT_UNKNOWN", /messages and text/),
    );
    expect(formatByName("auto")).toBe("auto");
    expect(formatByName("tokens")).toBe("tokens");
  });
});
