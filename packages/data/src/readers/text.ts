// Plain text as rows of a `text` column: the whole file, its paragraphs or its lines.

import { DataError } from "../errors.ts";
import { byteCursor, type FindEnd } from "./cursor.ts";
import { type ByteInput, CARRIAGE_RETURN, isBlank, lineEnd, NEWLINE, refuseBom, withoutLineEnd } from "./jsonl.ts";
import { placeDetails, placeText } from "./place.ts";
import { rawRow, type RawRow, tooLong } from "./raw-row.ts";
import { decodeUtf8 } from "./utf8.ts";

/** What becomes a row. A paragraph ends at a blank line. */
export const SAMPLE_BY = ["document", "paragraph", "line"] as const;
export type SampleBy = (typeof SAMPLE_BY)[number];

/** A paragraph ends behind the first blank line after it. */
function paragraphEnd(): FindEnd {
  let lineBlank = true;
  let seenText = false;
  return (chunk, from) => {
    for (let i = from; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (byte === NEWLINE) {
        if (lineBlank && seenText) return i + 1;
        lineBlank = true;
      } else if (byte !== CARRIAGE_RETURN && byte !== 0x20 && byte !== 0x09) {
        lineBlank = false;
        seenText = true;
      }
    }
    return -1;
  };
}

const ENDS: { readonly [S in SampleBy]: () => FindEnd } = {
  document: () => () => -1,
  paragraph: paragraphEnd,
  line: () => lineEnd,
};

/** A paragraph without the blank lines around it. */
function trimmed(text: string): string {
  return text.replace(/^(?:[ \t]*\r?\n)+/, "").replace(/(?:\r?\n[ \t]*)+$/, "");
}

/** `{text}` rows; pieces of nothing but white space are blank. */
export async function* readText(input: ByteInput, sampleBy: SampleBy): AsyncGenerator<RawRow, void, undefined> {
  const { path, maxRowBytes } = input;
  const cursor = byteCursor(input.bytes, maxRowBytes);
  let row = 0;
  try {
    for (;;) {
      const piece = await cursor.take(ENDS[sampleBy]());
      if (piece === undefined) return;
      const { bytes } = piece;
      if (bytes !== undefined && isBlank(bytes)) {
        input.onBlank();
        continue;
      }
      const numbered = sampleBy === "paragraph" ? { row: ++row } : {};
      const at = { path, line: piece.line, byte: piece.byte, ...numbered };
      if (bytes === undefined)
        yield tooLong(at, maxRowBytes, "split the text: sample_by: paragraph or line reads it in smaller pieces");
      else
        yield rawRow(at, () => {
          const text = decodeUtf8(sampleBy === "line" ? withoutLineEnd(bytes) : bytes, at);
          refuseBom(text, at);
          if (text.includes("\0"))
            throw new DataError("TEXT_INVALID", `${placeText(at)}: the text holds a NUL character`, {
              ...placeDetails(at),
              expected: "text",
              fix: "is this a text file in UTF-8?",
            });
          return { row: new Map([["text", sampleBy === "paragraph" ? trimmed(text) : text]]) };
        });
    }
  } finally {
    await cursor.close();
  }
}
