import { describe, expect, test } from "vitest";
import { charTokenizer } from "../../test/char-tokenizer.ts";
import { MAX_ROW_BYTES, VECTORS, type Vector } from "../../test/malformed-vectors.ts";
import { memoryFiles } from "../../test/memory-files.ts";
import { addCounts, NO_ROWS } from "../dataset/chunk.ts";
import { type OnBadRow, tokenizeBatch } from "../dataset/tokenize-batch.ts";
import { tokenizeFile } from "../dataset/tokenize-file.ts";
import { compileTemplate } from "../chat-template/template.ts";
import { formatByName } from "../formats/formats.ts";
import { readRawRows } from "./read-rows.ts";

const templates = { default: compileTemplate("{% for m in messages %}<{{ m.content }}>{% endfor %}", "t") };
const tokenizer = charTokenizer();

/** The whole road from bytes to tokens. */
async function read({ path, content, options }: Vector, onBadRow: OnBadRow, chunkBytes: number) {
  const { rowsKey, sampleBy, format: name = "auto" } = options ?? {};
  let blank = 0;
  const rows = readRawRows(memoryFiles({ [path]: content }), path, {
    rowsKey,
    sampleBy,
    chunkBytes,
    maxRowBytes: MAX_ROW_BYTES,
    onBlank: () => blank++,
  });
  const job = {
    folder: "m",
    chatTemplate: "auto",
    rows: {},
    trainOn: "all",
    maxLength: 10_000,
    overlong: "error",
    appendEos: true,
    vocabSize: tokenizer.vocabSize,
    now: new Date(0),
    onBadRow,
  } as const;
  const format = formatByName(name);
  let counts = NO_ROWS;
  const chunks = tokenizeFile(rows, job, {
    format: format === "auto" ? undefined : format,
    tokenize: (batch, work) => tokenizeBatch(batch, work, { tokenizer, templates }),
    parallel: 1,
  });
  for await (const { chunk } of chunks) counts = addCounts(counts, chunk!.counts);
  return { rows: counts.rows, blank, skipped: Object.entries(counts.skipped).map(([code, { rows }]) => [code, rows]) };
}

describe.each(VECTORS.map((vector) => [vector.name, vector] as const))("%s", (_, vector) => {
  const { path, rows, blank = 0, bad = [], fatal } = vector;
  const first = fatal ?? bad[0];

  // one byte at a time cuts every character and every line end; the bomb would take minutes that way
  test.each(fatal?.code === "GZIP_BOMB" ? [4096] : [1, 4096])("strict, %i bytes per read", async (chunkBytes) => {
    const outcome = read(vector, "error", chunkBytes);
    if (first === undefined) {
      expect(await outcome).toEqual({ rows, blank, skipped: [] });
      return;
    }
    const { code, ...place } = first;
    await expect(outcome).rejects.toMatchObject({ code, details: { path, ...place } });
    await expect(outcome).rejects.toThrow(path + (place.line === undefined ? ":" : `:${place.line}`));
  });

  test("skip: good rows, bad ones and blanks are all there is", async () => {
    const outcome = read(vector, "skip", 4096);
    if (fatal !== undefined) {
      await expect(outcome).rejects.toMatchObject({ code: fatal.code });
      return;
    }
    const skipped = bad.map(({ code }) => [code, 1]);
    expect(await outcome).toEqual({ rows, blank, skipped });
    if (path !== "d.jsonl") return;
    const lines = new TextDecoder().decode(vector.content).split("\n");
    expect(rows + blank + bad.length).toBe(lines.at(-1) === "" ? lines.length - 1 : lines.length);
  });
});

test("the table has the size that was promised, and no name twice", () => {
  expect(VECTORS.length).toBeGreaterThanOrEqual(120);
  expect(new Set(VECTORS.map(({ name }) => name)).size).toBe(VECTORS.length);
});
