import { type JsonObject, parseStrictJson } from "@tunesmith/core";
import { describe, expect, test } from "vitest";
import { readRow } from "./formats.ts";

const at = { path: "d.jsonl", line: 3 };
const read = (...messages: object[]) =>
  readRow("messages", parseStrictJson(JSON.stringify({ messages })) as JsonObject, at);

describe("messages of {type, value}", () => {
  test("texts are joined, reasoning and calls go where templates look for them, loss_weight is the weight", () => {
    const call = '{"name": "area", "arguments": {"radius": 1.5}}';
    expect(
      read(
        {
          role: "user",
          content: [
            { type: "text", value: "a" },
            { type: "text", value: "b" },
          ],
          loss_weight: 0,
        },
        {
          role: "assistant",
          content: [
            { type: "reasoning", value: "hm" },
            { type: "tool_call", value: call },
          ],
          loss_weight: 0.5,
        },
        { role: "tool", content: [{ type: "text", value: "7" }] },
        { role: "assistant", content: "plain", loss_weight: 1 },
      ),
    ).toEqual({
      kind: "conversation",
      messages: [
        { role: "user", content: "ab", weight: 0 },
        {
          role: "assistant",
          content: null,
          reasoning_content: "hm",
          weight: 0.5,
          tool_calls: [
            new Map<string, unknown>([
              ["type", "function"],
              [
                "function",
                new Map<string, unknown>([
                  ["name", "area"],
                  ["arguments", new Map([["radius", 1.5]])],
                ]),
              ],
            ]),
          ],
        },
        { role: "tool", content: "7" },
        { role: "assistant", content: "plain", weight: 1 },
      ],
    });
  });
  test.each<[string, object, string]>([
    ["an unknown type", { role: "user", content: [{ type: "image", value: "x" }] }, "VALUE_INVALID"],
    [
      "a part without a value",
      { role: "user", content: [{ type: "text", value: "x" }, { type: "text" }] },
      "COLUMN_MISSING",
    ],
    ["a value that is no text", { role: "user", content: [{ type: "text", value: 5 }] }, "VALUE_INVALID"],
    ["a call that is no JSON", { role: "assistant", content: [{ type: "tool_call", value: "f(x)" }] }, "VALUE_INVALID"],
    ["a call that is no object", { role: "assistant", content: [{ type: "tool_call", value: "[]" }] }, "VALUE_INVALID"],
    ["both ways to write a weight", { role: "user", content: "x", loss_weight: 1, weight: 1 }, "COLUMN_UNKNOWN"],
    ["a weight below zero", { role: "user", content: "x", loss_weight: -1 }, "VALUE_INVALID"],
  ])("%s is refused with its place", (_, message, code) => {
    expect(() => read(message)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining("d.jsonl:3") as string }),
    );
  });
});
