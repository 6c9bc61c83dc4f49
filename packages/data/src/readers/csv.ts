// CSV and TSV as RFC 4180 writes them, read strictly: a header, quoted fields that may hold line breaks, the same number
// of fields in every record. Values are strings; an empty field is the empty string.

import { DataError } from "../errors.ts";
import { byteCursor, type FindEnd } from "./cursor.ts";
import { type ByteInput, isBlank, NEWLINE, refuseBom, withoutLineEnd } from "./jsonl.ts";
import { placeDetails, placeText, type RowAt } from "./place.ts";
import { rawRow, type RawRow, tooLong } from "./raw-row.ts";
import { decodeUtf8 } from "./utf8.ts";

const QUOTE = 0x22;

/** A line feed outside quotes ends a record; a doubled quote toggles twice, which is right here. */
function recordEnd(): FindEnd & { open(): boolean } {
  let quoted = false;
  const find: FindEnd = (chunk, from) => {
    for (let i = from; i < chunk.length; i++) {
      if (chunk[i] === QUOTE) quoted = !quoted;
      else if (chunk[i] === NEWLINE && !quoted) return i + 1;
    }
    return -1;
  };
  return Object.assign(find, { open: () => quoted });
}

function invalid(
  at: RowAt,
  because: string,
  details: { expected: string; received?: string; fix?: string },
): DataError {
  return new DataError("CSV_INVALID", `${placeText(at)}: ${because}`, {
    ...placeDetails(at),
    fix: "repair this record",
    ...details,
  });
}

/** The fields of one record. @throws DataError `CSV_INVALID` */
function fieldsOf(text: string, delimiter: string, at: RowAt): string[] {
  const wrong = /[\0]/.exec(text);
  if (wrong !== null)
    throw invalid(at, "the record holds a NUL character", { expected: "text", fix: "is this a text file in UTF-8?" });
  const fields: string[] = [];
  for (let from = 0; ;) {
    let end: number;
    if (text[from] === '"') {
      let value = "";
      for (let i = from + 1; ;) {
        const close = text.indexOf('"', i);
        if (close === -1)
          throw invalid(at, `field ${fields.length + 1} opens a quote that never closes`, { expected: '"' });
        value += text.slice(i, close);
        if (text[close + 1] !== '"') {
          end = close + 1;
          break;
        }
        value += '"';
        i = close + 2;
      }
      fields.push(value);
      if (end < text.length && text[end] !== delimiter)
        throw invalid(at, `field ${fields.length} goes on after its closing quote`, {
          expected: "a delimiter or the end of the record",
          received: text.slice(end, end + 20),
          fix: 'write a quote inside a quoted field as ""',
        });
    } else {
      const next = text.indexOf(delimiter, from);
      end = next === -1 ? text.length : next;
      const value = text.slice(from, end);
      if (/["\r]/.test(value))
        throw invalid(at, `field ${fields.length + 1} holds a quote or a carriage return and is not quoted`, {
          expected: "a field in double quotes",
          received: value.slice(0, 20),
          fix: "put the field in quotes and double the quotes in it; end lines with LF or CRLF",
        });
      fields.push(value);
    }
    if (end >= text.length) return fields;
    from = end + 1;
  }
}

/**
 * @param delimiter - one character: a comma or a tab
 * @throws DataError `CSV_INVALID` for a header without distinct names and for a quote that is open at the end of the file
 */
export async function* readCsv(input: ByteInput, delimiter: string): AsyncGenerator<RawRow, void, undefined> {
  const { path, maxRowBytes } = input;
  const cursor = byteCursor(input.bytes, maxRowBytes);
  let header: string[] | undefined;
  let row = 0;
  try {
    for (;;) {
      const end = recordEnd();
      const piece = await cursor.take(end);
      if (piece === undefined) return;
      const place = { path, line: piece.line, byte: piece.byte };
      const { bytes } = piece;
      // whatever the user wants to skip: no record after this quote can be found
      if (!piece.ended && end.open())
        throw invalid(place, "a quote opens in this record and is not closed before the end of the file", {
          expected: "a closing quote",
          fix: 'close the quote; write a quote inside a quoted field as ""',
        });
      if (bytes !== undefined && bytes.length > 0 && isBlank(bytes) && !bytes.includes(0x09)) {
        input.onBlank();
        continue;
      }
      if (header === undefined) {
        if (bytes === undefined)
          throw invalid(place, `the header is longer than ${maxRowBytes} bytes`, { expected: "a header" });
        header = headerOf(bytes, delimiter, place);
        continue;
      }
      const at = { ...place, row: ++row };
      const names = header;
      if (bytes === undefined)
        yield tooLong(at, maxRowBytes, "shorten the record, or check for a quote that never closes");
      else
        yield rawRow(at, () => {
          const fields = fieldsOf(decodeUtf8(withoutLineEnd(bytes), at), delimiter, at);
          if (fields.length !== names.length)
            throw invalid(at, `the record has ${fields.length} fields and the header ${names.length}`, {
              expected: `${names.length} fields: ${names.join(", ")}`,
              received: String(fields.length),
            });
          return { row: new Map(names.map((name, i) => [name, fields[i]!])) };
        });
    }
  } finally {
    await cursor.close();
  }
}

function headerOf(bytes: Uint8Array, delimiter: string, at: RowAt): string[] {
  const text = decodeUtf8(withoutLineEnd(bytes), at);
  refuseBom(text, at);
  const names = fieldsOf(text, delimiter, at);
  const wrong = names.find((name, i) => name === "" || names.indexOf(name) !== i);
  if (wrong !== undefined)
    throw invalid(
      at,
      wrong === "" ? "a column of the header has no name" : `two columns are named ${JSON.stringify(wrong)}`,
      {
        expected: "a header of distinct names",
        received: names.join(", "),
        fix: "correct the first line: it names the columns",
      },
    );
  return names;
}
