import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { memoryFiles } from "../../test/memory-files.ts";
import { readRawRows, type ReadOptions, readRows } from "./read-rows.ts";
import { firstInvalidByte } from "./utf8.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

async function rows(path: string, content: string | Uint8Array, options: ReadOptions = {}): Promise<object[]> {
  const out: object[] = [];
  for await (const { row } of readRows(memoryFiles({ [path]: content }), path, options))
    out.push(Object.fromEntries(row));
  return out;
}

/** Text that makes trouble: every kind of line end, quote, bracket and width of character. */
const troubled = fc
  .array(
    fc.constantFrom("a", "é", "🦊", "e\u0301", "\n", "\r\n", "\r", '"', '""', ",", "\t", "{", "]", "\\", " ", "\u2028"),
    {
      maxLength: 12,
    },
  )
  .map((parts) => parts.join(""));
const table = fc.array(fc.record({ a: troubled, b: troubled }), { maxLength: 8 });
const chunkBytes = fc.integer({ min: 1, max: 64 });

describe("what one program writes is what is read, whatever the size of a read", () => {
  test("JSON Lines, gzip", async () => {
    await fc.assert(
      fc.asyncProperty(table, chunkBytes, fc.constantFrom("\n", "\r\n"), async (data, size, end) => {
        const text = data.map((row) => JSON.stringify(row)).join(end);
        expect(await rows("d.jsonl", text, { chunkBytes: size })).toEqual(data);
        expect(await rows("d.jsonl.gz", gzipSync(text), { chunkBytes: size })).toEqual(data);
      }),
      { numRuns: 60 },
    );
  });
  test("JSON arrays, indented or not, bare or under a key", async () => {
    await fc.assert(
      fc.asyncProperty(table, chunkBytes, fc.integer({ min: 0, max: 2 }), async (data, size, indent) => {
        expect(await rows("d.json", JSON.stringify(data, null, indent), { chunkBytes: size })).toEqual(data);
        const wrapped = JSON.stringify({ before: [["]", "}"]], rows: data, after: { rows: 1 } }, null, indent);
        expect(await rows("d.json", wrapped, { chunkBytes: size, rowsKey: "rows" })).toEqual(data);
      }),
      { numRuns: 100 },
    );
  });
  test.each([
    ["csv", ","],
    ["tsv", "\t"],
  ])("%s", async (extension, delimiter) => {
    const quoted = (text: string, always: boolean): string =>
      always || /["\r\n,\t]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    await fc.assert(
      fc.asyncProperty(
        table,
        chunkBytes,
        fc.boolean(),
        fc.constantFrom("\n", "\r\n"),
        async (data, size, always, end) => {
          const lines = data.map(({ a, b }) => [a, b].map((text) => quoted(text, always)).join(delimiter));
          const text = [["a", "b"].join(delimiter), ...lines].join(end) + end;
          expect(await rows(`d.${extension}`, text, { chunkBytes: size })).toEqual(data);
        },
      ),
      { numRuns: 100 },
    );
  });
  test("lines of text", async () => {
    const line = fc.stringMatching(/^[a-zé🦊",]*[a-z]$/u);
    await fc.assert(
      fc.asyncProperty(fc.array(line), chunkBytes, async (lines, size) => {
        const data = await rows("d.txt", lines.join("\r\n"), { chunkBytes: size, sampleBy: "line" });
        expect(data).toEqual(lines.map((text) => ({ text })));
      }),
      { numRuns: 60 },
    );
  });
});

test("bytes of any kind give rows, typed errors or both, and every line is accounted for", async () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc.constantFrom('{"a": 1}\n', '{"a"', "\n", "\r\n", "a,b\n", '"', "[", "]", "{}", ",", "\0").map(utf8),
  );
  const path = fc.constantFrom("d.jsonl", "d.json", "d.csv", "d.tsv", "d.txt", "d.parquet", "d.jsonl.gz");
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 12 }), path, async (pieces, name) => {
      const content = Uint8Array.from(pieces.flatMap((bytes) => [...bytes]));
      let seen = 0;
      try {
        for await (const raw of readRawRows(memoryFiles({ [name]: content }), name, { onBlank: () => seen++ })) {
          seen++;
          if ("error" in raw) expect(raw.error.code).toMatch(/^[A-Z0-9_]+$/);
        }
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/_INVALID$/) as string });
        return;
      }
      if (name !== "d.jsonl") return;
      const ends = content.filter((byte) => byte === 0x0a).length;
      expect(seen).toBe(ends + (content.length > 0 && content.at(-1) !== 0x0a ? 1 : 0));
    }),
    { numRuns: 500 },
  );
});

test("the first byte that is no UTF-8 is the one a strict decoder stops at", () => {
  const bytes = fc.array(fc.oneof(fc.nat(255), fc.constantFrom(0xe0, 0xed, 0xf0, 0xf4, 0x80, 0x8f, 0x9f, 0xa0, 0xbf)), {
    maxLength: 8,
  });
  const isText = (part: Uint8Array): boolean => {
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(part);
      return true;
    } catch {
      return false;
    }
  };
  fc.assert(
    fc.property(bytes, (values) => {
      const input = Uint8Array.from(values);
      const at = firstInvalidByte(input);
      expect(at === input.length).toBe(isText(input));
      expect(isText(input.subarray(0, at))).toBe(true);
      // no character begins at that byte
      for (let length = 1; length <= 4 && at + length <= input.length; length++)
        expect(isText(input.subarray(at, at + length))).toBe(false);
    }),
    { numRuns: 2000 },
  );
});

describe("files", () => {
  test("memory holds one chunk and one line: 40 MB stream without a copy of the file", async () => {
    const line = utf8(`{"a": "${"x".repeat(990)}"}\n`);
    let largest = 0;
    const source = {
      path: "big.jsonl",
      size: line.length * 40_000,
      read: async (offset: number, length: number) => {
        largest = Math.max(largest, length);
        return Uint8Array.from({ length }, (_, i) => line[(offset + i) % line.length]!);
      },
      close: async () => {},
    };
    let count = 0;
    for await (const raw of readRawRows({ ...memoryFiles({}), open: async () => source }, "big.jsonl"))
      count += "json" in raw && raw.json.length === line.length - 1 ? 1 : 0;
    expect([count, largest]).toEqual([40_000, 2 ** 20]);
  });
  test.each(["d.jsonl", "d.jsonl.gz", "d.json", "d.csv", "d.txt", "d.parquet"])(
    "%s is closed at its end, after an error and where the reader leaves",
    async (path) => {
      const content = path.endsWith(".gz") ? gzipSync("{}\n[]\n") : utf8(path === "d.json" ? "[{}, 5]" : "{}\n[]\n");
      const files = memoryFiles({ [path]: content });
      let open = 0;
      const counted = {
        ...files,
        open: async (name: string) => {
          open++;
          return { ...(await files.open(name)), close: async () => void open-- };
        },
      };
      const walk = async (count: number): Promise<void> => {
        for await (const _ of readRows(counted, path)) if (--count === 0) return;
      };
      await walk(1).catch(() => {});
      await walk(Infinity).catch(() => {});
      expect(open).toBe(0);
    },
  );
  test("the name tells the format, `file_format` overrules it", async () => {
    expect(await rows("d.NDJSON", '{"a": 1}')).toEqual([{ a: 1 }]);
    expect(await rows("rows", "a\n1", { fileFormat: "csv" })).toEqual([{ a: "1" }]);
    expect(await rows("d.json", '{"a": 1}\n{"a": 2}', { fileFormat: "jsonl" })).toHaveLength(2);
    await expect(rows("d.jsonls", "")).rejects.toMatchObject({
      code: "FILE_FORMAT_UNKNOWN",
      details: { fix: expect.stringContaining("did you mean .jsonl") as string },
    });
  });
});
