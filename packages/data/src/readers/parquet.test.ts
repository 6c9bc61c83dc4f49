// Files written by Apache Arrow (pyarrow 26): fixtures/parquet.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { memoryFiles } from "../../test/memory-files.ts";
import { readRawRows, readRows } from "./read-rows.ts";

const golden = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../../../fixtures/parquet/${name}.parquet`, import.meta.url)));

/** JSON's own form of what was read. */
function plain(value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, entry]) => [key, plain(entry)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

async function rows(content: Uint8Array): Promise<unknown[]> {
  const out: unknown[] = [];
  for await (const { row } of readRows(memoryFiles({ "d.parquet": content }), "d.parquet")) out.push(plain(row));
  return out;
}

const EXPECTED = Array.from({ length: 25 }, (_, i) => ({
  messages: [
    { role: "user", content: `Frage ${i}: é🦊` },
    { role: "assistant", content: "ja ".repeat(i % 5), weight: i },
  ].slice(0, i % 3 === 0 ? 1 : 2),
  id: i,
  big: 2 ** 40 + i,
  score: i / 4,
  ok: i % 2 === 0,
  ...(i % 4 === 0 ? { note: `n${i}` } : {}),
  empty: [],
}));

describe("readParquet", () => {
  test.each(["none", "snappy", "gzip", "zstd", "brotli", "lz4", "v2"])(
    "%s: three row groups, nested columns, nulls left out",
    async (name) => expect(await rows(golden(name))).toEqual(EXPECTED),
  );
  test("a file without rows", async () => expect(await rows(golden("empty"))).toEqual([]));
  test("rows that cannot be used are told by their number, the others are read", async () => {
    const bad = async (name: string): Promise<unknown[]> => {
      const out: unknown[] = [];
      for await (const raw of readRawRows(memoryFiles({ d: golden(name) }), "d", { fileFormat: "parquet" }))
        out.push("error" in raw ? [raw.error.code, raw.error.message] : raw.at.row);
      return out;
    };
    expect(await bad("not-utf8")).toEqual([1, ["UTF8_INVALID", "d (row 2): column text is not valid UTF-8"], 3]);
    expect(await bad("too-large")).toEqual([
      1,
      ["VALUE_INVALID", "d (row 2): column n holds an integer beyond 2^53 - 1"],
    ]);
  });
  test("a file that is cut off is refused wherever the cut is", async () => {
    const whole = golden("snappy");
    for (let size = 0; size < whole.length; size += 97)
      await expect(rows(whole.slice(0, size))).rejects.toMatchObject({ code: "PARQUET_INVALID" });
  });
  test("changed bytes give rows or a typed error, soon", async () => {
    const whole = golden("none");
    const change = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(change, async (changes) => {
        const bytes = whole.slice();
        for (const [at, value] of changes) bytes[at] = value;
        const started = performance.now();
        const outcome = await rows(bytes).then(
          (read) => read.length,
          (error: { code?: string }) => error.code,
        );
        expect([25, "PARQUET_INVALID", "UTF8_INVALID", "VALUE_INVALID", "LINE_TOO_LONG"]).toContain(outcome);
        expect(performance.now() - started).toBeLessThan(5000);
      }),
      { numRuns: 300, seed: 3 },
    );
  });
});
