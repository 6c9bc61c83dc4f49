// Files larger than memory should hold: 2 GB of rows in flat memory, and a line of 1 GB that is refused at its limit.
import type { Files } from "@tunesmith/core";
import { describe, expect, test } from "vitest";
import { memoryFiles } from "../../test/memory-files.ts";
import { parseRow } from "./raw-row.ts";
import { readRawRows } from "./read-rows.ts";

const MIB = 2 ** 20;

/** A file of `size` bytes that repeats `pattern`; nothing of it exists but what is asked for. */
function endless(path: string, size: number, pattern: Uint8Array): Files {
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const out = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const part = pattern.subarray((offset + at) % pattern.length);
      const fits = part.subarray(0, length - at);
      out.set(fits, at);
      at += fits.length;
    }
    return out;
  };
  return { ...memoryFiles({}), open: async () => ({ path, size, read, close: async () => {} }) };
}

/** Bytes the process holds, after garbage that is due has gone. */
async function resident(): Promise<number> {
  await new Promise((done) => setTimeout(done, 0));
  return process.memoryUsage().rss;
}

describe("memory", () => {
  test("2 GB of JSON Lines are parsed in ± 64 MiB", async () => {
    const line = new TextEncoder().encode(
      `${JSON.stringify({ prompt: "p é🦊 ".repeat(60), completion: "c ".repeat(100) })}\n`,
    );
    const pattern = new Uint8Array(line.length * 1024);
    for (let i = 0; i < 1024; i++) pattern.set(line, i * line.length);
    const count = Math.ceil((2 * 2 ** 30) / line.length);
    const files = endless("d.jsonl", count * line.length, pattern);
    let rows = 0;
    const seen: number[] = [];
    const began = performance.now();
    for await (const raw of readRawRows(files, "d.jsonl")) {
      if (parseRow(raw).size === 2) rows++;
      // the first eighth warms up: code is compiled, the heap takes its size
      if (rows > count / 8 && rows % 50_000 === 0) seen.push(await resident());
    }
    expect(rows).toBe(count);
    const middle = (Math.max(...seen) + Math.min(...seen)) / 2;
    console.log(
      `2 GiB, ${rows} rows: ${(middle / MIB).toFixed(0)} ± ${((Math.max(...seen) - middle) / MIB).toFixed(0)} MiB, ${((performance.now() - began) / 1000).toFixed(1)} s`,
    );
    expect(Math.max(...seen) - middle).toBeLessThanOrEqual(64 * MIB);
  });

  test.each(["d.jsonl", "d.json", "d.csv", "d.txt"])(
    "%s: a row of 1 GB is refused within twice the limit",
    async (path) => {
      const limit = 64 * MIB;
      const start = { "d.jsonl": '{"a": "', "d.json": '[{"a": "', "d.csv": 'a\n"', "d.txt": "" }[path]!;
      const pattern = new Uint8Array(MIB).fill(0x78);
      const files = endless(path, 2 ** 30, pattern);
      const opening = new TextEncoder().encode(start);
      const open: Files["open"] = async (name) => {
        const source = await files.open(name);
        const read = async (offset: number, length: number): Promise<Uint8Array> => {
          const bytes = await source.read(offset, length);
          if (offset === 0) bytes.set(opening);
          return bytes;
        };
        return { ...source, read };
      };
      const before = await resident();
      let most = before;
      const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 5);
      const codes: string[] = [];
      try {
        for await (const raw of readRawRows({ ...files, open }, path, { maxRowBytes: limit }))
          codes.push("error" in raw ? raw.error.code : "row");
      } catch (error) {
        codes.push((error as { code: string }).code);
      } finally {
        clearInterval(watch);
      }
      most = Math.max(most, await resident());
      console.log(`${path}: ${codes.join()} with ${((most - before) / MIB).toFixed(0)} MiB more`);
      // a bracket or quote that never closes ends the file, not the row
      expect(codes).toEqual([{ "d.json": "JSON_INVALID", "d.csv": "CSV_INVALID" }[path] ?? "LINE_TOO_LONG"]);
      expect(most - before).toBeLessThanOrEqual(2 * limit);
    },
  );
});
