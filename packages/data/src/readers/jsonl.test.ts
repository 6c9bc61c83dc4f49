import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { memoryFiles } from "../../test/memory-files.ts";
import { readJsonl, readLines } from "./jsonl.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
async function lines(content: string | Uint8Array, options = {}): Promise<[string, number, number][]> {
  const source = await memoryFiles({ f: content }).open("f");
  const out: [string, number, number][] = [];
  for await (const { text, line, byte } of readLines(source, options)) out.push([text, line, byte]);
  return out;
}
async function rows(content: string | Uint8Array, options = {}): Promise<[unknown, number][]> {
  const out: [unknown, number][] = [];
  for await (const { row, line } of readJsonl(memoryFiles({ "d.jsonl": content }), "d.jsonl", options)) {
    out.push([Object.fromEntries(row), line]);
  }
  return out;
}

describe("readLines", () => {
  test("LF and CRLF, blank lines, a last line without an end; numbers and byte offsets", async () => {
    expect(await lines("a\r\n\né\nlast")).toEqual([
      ["a", 1, 0],
      ["", 2, 3],
      ["é", 3, 4],
      ["last", 4, 7],
    ]);
    expect(await lines("")).toEqual([]);
    expect(await lines("x\n")).toEqual([["x", 1, 0]]);
    expect(await lines("\n")).toEqual([["", 1, 0]]);
  });
  test("any chunk size reads the same lines, also where it cuts a character or a CRLF", async () => {
    const text = fc
      .array(fc.constantFrom("a", "é", "🦊", "e\u0301", "\n", "\r\n", " "), { maxLength: 60 })
      .map((parts) => parts.join(""));
    await fc.assert(
      fc.asyncProperty(text, fc.integer({ min: 1, max: 9 }), async (content, chunkBytes) => {
        const got = await lines(content, { chunkBytes });
        const parts = content.split("\n");
        if (parts.at(-1) === "") parts.pop();
        expect(got.map(([line]) => line)).toEqual(
          parts.map((part, i) => (i < parts.length ? part.replace(/\r$/, "") : part)),
        );
        for (const [line, , byte] of got) {
          expect(new TextDecoder().decode(bytes(content).slice(byte, byte + bytes(line).length))).toBe(line);
        }
      }),
    );
  });
  test("memory holds one chunk and one line: 40 MB stream without a copy of the file", async () => {
    const lineOf = bytes(`${"x".repeat(999)}\n`);
    let largest = 0;
    const source = {
      path: "big",
      size: lineOf.length * 40_000,
      read: async (offset: number, length: number) => {
        largest = Math.max(largest, length);
        const out = new Uint8Array(length);
        for (let i = 0; i < length; i++) out[i] = lineOf[(offset + i) % lineOf.length]!;
        return out;
      },
      close: async () => {},
    };
    let count = 0;
    for await (const { text } of readLines(source)) count += text.length === 999 ? 1 : 0;
    expect([count, largest]).toEqual([40_000, 2 ** 20]);
  });
});

describe("readJsonl", () => {
  test("objects with their line numbers, blank lines skipped", async () => {
    expect(await rows('{"a": 1}\r\n\r\n  \n{"b": "é"}')).toEqual([
      [{ a: 1 }, 1],
      [{ b: "é" }, 4],
    ]);
  });
  test.each([
    ["a line that is no JSON", '{"a": 1}\n{"a": }\n', "JSON_INVALID", 2],
    ["a duplicate key", '{"a": 1, "a": 2}', "JSON_INVALID", 1],
    ["two objects on a line", '{"a": 1} {"a": 2}', "JSON_INVALID", 1],
    ["an array", '[{"a": 1}]', "VALUE_INVALID", 1],
    ["bytes that are not UTF-8", Uint8Array.of(...bytes('{"a": 1}\n{"a": "'), 0xff, 0x22, 0x7d), "UTF8_INVALID", 2],
    ["UTF-16", Uint8Array.of(0xff, 0xfe, 0x7b, 0), "UTF8_INVALID", 1],
    ["a byte-order mark", '\ufeff{"a": 1}', "UTF8_INVALID", 1],
  ])("%s is an error with path and line", async (_, content, code, line) => {
    for (const chunkBytes of [1, 1000]) {
      await expect(rows(content, { chunkBytes })).rejects.toThrow(
        expect.objectContaining({
          code,
          message: expect.stringContaining(`d.jsonl:${line}`) as string,
          details: expect.objectContaining({ path: "d.jsonl", line }) as object,
        }),
      );
    }
  });
  test("a line without end is refused before it fills the memory", async () => {
    await expect(rows(`{"a": "${"x".repeat(100)}"}`, { maxLineBytes: 50, chunkBytes: 8 })).rejects.toThrow(
      expect.objectContaining({ code: "LINE_TOO_LONG" }),
    );
  });
  test("the file is closed, also after an error", async () => {
    let open = 0;
    const files = memoryFiles({ f: "{}\n[]" });
    const counted = {
      ...files,
      open: async (path: string) => ({ ...(await files.open(path)), close: async () => void open-- }),
    };
    const walk = async (): Promise<void> => {
      open++;
      for await (const _ of readJsonl(counted, "f"));
    };
    await expect(walk()).rejects.toThrow("not an object");
    expect(open).toBe(0);
  });
});
