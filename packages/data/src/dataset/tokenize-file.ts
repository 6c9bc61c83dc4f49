// One file to chunks, in order: rows are read once, cut into batches by their number and size alone, and the batches may be
// tokenized elsewhere, several at a time.

import { createRowReader, type Format } from "../formats/formats.ts";
import { parseRow, type RawRow } from "../readers/raw-row.ts";
import type { TokenChunk } from "./chunk.ts";
import { type BatchJob, isBadRow, type TokenizeBatch } from "./tokenize-batch.ts";

/** Small enough to keep several threads busy with a small file. */
const BATCH_ROWS = 512;
/** UTF-16 code units of JSON text */
const BATCH_TEXT = 2 ** 20;

/** The cut depends on the file alone, so that every process finds the same batches. */
export async function* batchesOf(rows: AsyncIterable<RawRow>): AsyncGenerator<RawRow[], void, undefined> {
  let batch: RawRow[] = [];
  let text = 0;
  for await (const raw of rows) {
    batch.push(raw);
    text += "json" in raw ? raw.json.length : 0;
    if (batch.length < BATCH_ROWS && text < BATCH_TEXT) continue;
    yield batch;
    batch = [];
    text = 0;
  }
  if (batch.length > 0) yield batch;
}

/** The first rows of a file. */
export async function* firstRows(rows: AsyncIterable<RawRow>, count: number): AsyncGenerator<RawRow, void, undefined> {
  if (count <= 0) return;
  let seen = 0;
  for await (const raw of rows) {
    yield raw;
    if (++seen >= count) return;
  }
}

/**
 * The format of the first row that can be read; undefined if all are bad and are to be skipped.
 * @throws the error of the first row, unless bad rows are skipped; DataError `FORMAT_UNKNOWN`
 */
function formatOf(
  batch: readonly RawRow[],
  { onBadRow, rows }: Pick<BatchJob, "onBadRow" | "rows">,
): Format | undefined {
  const reader = createRowReader(rows);
  for (const raw of batch) {
    try {
      return reader.detect(parseRow(raw), raw.at);
    } catch (error) {
      if (onBadRow === "error" || !isBadRow(error)) throw error;
    }
  }
  return undefined;
}

/** A batch by its number. */
export interface TokenizedBatch {
  readonly batch: number;
  /** rows in it, bad ones counted */
  readonly rows: number;
  /** undefined where it was not wanted */
  readonly chunk: TokenChunk | undefined;
}

/**
 * Chunks of a file, one per batch.
 *
 * @param options.format - undefined: told by the first good row
 * @param options.parallel - batches that may be under way at the same time
 * @param options.wanted - batches to tokenize, by number; the others are only read
 */
export async function* tokenizeFile(
  rows: AsyncIterable<RawRow>,
  job: Omit<BatchJob, "format">,
  options: {
    readonly format: Format | undefined;
    readonly tokenize: TokenizeBatch;
    readonly parallel: number;
    readonly wanted?: (batch: number) => boolean;
  },
): AsyncGenerator<TokenizedBatch, void, undefined> {
  let { format } = options;
  let number = 0;
  const pending: Promise<TokenizedBatch>[] = [];
  for await (const batch of batchesOf(rows)) {
    format ??= formatOf(batch, job);
    const at = number++;
    const chunk =
      options.wanted?.(at) === false
        ? Promise.resolve(undefined)
        : // a batch without one good row comes to the same whatever the format
          options.tokenize(batch, { ...job, format: format ?? "text" });
    const result = chunk.then((done) => ({ batch: at, rows: batch.length, chunk: done }));
    result.catch(() => {}); // reported in order, when its turn comes
    pending.push(result);
    while (pending.length >= options.parallel) yield await pending.shift()!;
  }
  for (const result of pending) yield await result;
}
