// JSON Lines: one object per line.

import { InputError } from "@tunesmith/core";
import { byteCursor, type FindEnd } from "./cursor.ts";
import type { RowAt } from "./place.ts";
import { rawRow, type RawRow, tooLong } from "./raw-row.ts";
import { decodeUtf8 } from "./utf8.ts";

/** The bytes of a file and how its rows are read. */
export interface ByteInput {
  readonly path: string;
  readonly bytes: AsyncIterable<Uint8Array>;
  /** longest row that is accepted */
  readonly maxRowBytes: number;
  /** told of every line that holds nothing */
  onBlank(): void;
}

export const NEWLINE = 0x0a;
export const CARRIAGE_RETURN = 0x0d;
const BOM = "\ufeff";

/** A line with its line feed. */
export const lineEnd: FindEnd = (chunk, from) => chunk.indexOf(NEWLINE, from) + 1 || -1;

/** The line without its end, LF or CRLF; the last one needs none. */
export function withoutLineEnd(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  if (bytes[end - 1] === NEWLINE) end--;
  if (bytes[end - 1] === CARRIAGE_RETURN) end--;
  return bytes.subarray(0, end);
}

/** @throws InputError `UTF8_INVALID` if a file starts with a byte-order mark */
export function refuseBom(text: string, at: RowAt): void {
  if (at.byte !== 0 || !text.startsWith(BOM)) return;
  throw new InputError("UTF8_INVALID", `${at.path}:1: the file starts with a byte-order mark`, {
    path: at.path,
    line: 1,
    byte: 0,
    expected: "UTF-8 without a byte-order mark",
    received: "0xef 0xbb 0xbf",
    fix: "save the file as UTF-8 without BOM",
  });
}

/** Every line that is not blank. A blank one holds nothing but spaces, tabs and carriage returns. */
export async function* readJsonLines(input: ByteInput): AsyncGenerator<RawRow, void, undefined> {
  const { path, maxRowBytes } = input;
  const cursor = byteCursor(input.bytes, maxRowBytes);
  try {
    for (;;) {
      const piece = await cursor.take(lineEnd);
      if (piece === undefined) return;
      const at = { path, line: piece.line, byte: piece.byte };
      const { bytes } = piece;
      if (bytes === undefined) yield tooLong(at, maxRowBytes, "write one JSON object per line");
      else if (isBlank(bytes)) input.onBlank();
      else
        yield rawRow(at, () => {
          const json = decodeUtf8(withoutLineEnd(bytes), at);
          refuseBom(json, at);
          return { json };
        });
    }
  } finally {
    await cursor.close();
  }
}

/** Nothing but white space of JSON. */
export function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === NEWLINE || byte === CARRIAGE_RETURN);
}
