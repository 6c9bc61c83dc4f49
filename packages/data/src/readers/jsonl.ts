// JSON Lines by byte ranges: memory holds one chunk and one line, whatever the size of the file.

import {
  type FileSource,
  type Files,
  InputError,
  isTunesmithError,
  type JsonObject,
  parseStrictJson,
} from "@tunesmith/core";
import { DataError } from "../errors.ts";

/** One line of a text file. */
export interface Line {
  readonly text: string;
  /** 1-based */
  readonly line: number;
  /** offset of the line's first byte */
  readonly byte: number;
}

/** One JSON object of a JSON Lines file and where it stands. */
export interface JsonLine {
  readonly row: JsonObject;
  readonly path: string;
  readonly line: number;
  readonly byte: number;
}

const NEWLINE = 0x0a;
const BOM = "\ufeff";

function decodeLine(bytes: Uint8Array, path: string, line: number): string {
  try {
    // a new decoder per line: after a fatal error the old one may hold half a character
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new InputError("UTF8_INVALID", `${path}:${line}: the line is not valid UTF-8`, {
      path,
      line,
      expected: "UTF-8 text",
      fix: "convert the file to UTF-8, for example with iconv",
      cause,
    });
  }
}

/**
 * Lines of an open file, without their line ends (LF or CRLF); the last one needs none.
 *
 * @param options.chunkBytes - bytes per read, default 1 MiB
 * @param options.maxLineBytes - longest line that is accepted, default 64 MiB
 * @throws InputError `UTF8_INVALID` on bytes that are not UTF-8 or a byte-order mark
 * @throws DataError `LINE_TOO_LONG`
 */
export async function* readLines(
  source: FileSource,
  options: { chunkBytes?: number; maxLineBytes?: number } = {},
): AsyncGenerator<Line, void, undefined> {
  const chunkBytes = options.chunkBytes ?? 2 ** 20;
  const maxLineBytes = options.maxLineBytes ?? 2 ** 26;
  const { path, size } = source;
  let pieces: Uint8Array[] = []; // of a line that began in an earlier chunk
  let pieceBytes = 0;
  let line = 1;
  let lineByte = 0;

  const grow = (piece: Uint8Array): void => {
    pieceBytes += piece.length;
    if (pieceBytes > maxLineBytes) {
      throw new DataError("LINE_TOO_LONG", `${path}:${line}: the line is longer than ${maxLineBytes} bytes`, {
        path,
        line,
        expected: `one JSON object per line, at most ${maxLineBytes} bytes each`,
        fix: "write one JSON object per line",
      });
    }
    pieces.push(piece);
  };
  const take = (): Line => {
    let bytes = pieces.length === 1 ? pieces[0]! : new Uint8Array(pieceBytes);
    if (pieces.length > 1) {
      let at = 0;
      for (const piece of pieces) {
        bytes.set(piece, at);
        at += piece.length;
      }
    }
    if (bytes.at(-1) === 0x0d) bytes = bytes.subarray(0, -1);
    const text = decodeLine(bytes, path, line);
    if (line === 1 && text.startsWith(BOM)) {
      throw new InputError("UTF8_INVALID", `${path}:1: the file starts with a byte-order mark`, {
        path,
        line,
        expected: "UTF-8 without a byte-order mark",
        fix: "save the file as UTF-8 without BOM",
      });
    }
    pieces = [];
    pieceBytes = 0;
    return { text, line: line++, byte: lineByte };
  };

  for (let offset = 0; offset < size; offset += chunkBytes) {
    const chunk = await source.read(offset, Math.min(chunkBytes, size - offset));
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      grow(chunk.subarray(from, end));
      yield take();
      from = end + 1;
      lineByte = offset + from;
    }
    // copied: a view would keep the whole chunk alive
    if (from < chunk.length) grow(chunk.slice(from));
  }
  if (pieceBytes > 0) yield take();
}

/**
 * The JSON objects of a JSON Lines file, one by one. Blank lines are skipped, everything else must be one strict JSON
 * object per line (duplicate keys, numbers that would be rounded and trailing text are errors).
 *
 * @throws InputError `FILE_MISSING`, `UTF8_INVALID` or `JSON_INVALID`, the last two with path and line
 * @throws DataError `LINE_TOO_LONG`, or `VALUE_INVALID` where a line is JSON but no object
 */
export async function* readJsonl(
  files: Files,
  path: string,
  options: { chunkBytes?: number; maxLineBytes?: number } = {},
): AsyncGenerator<JsonLine, void, undefined> {
  const source = await files.open(path);
  try {
    for await (const { text, line, byte } of readLines(source, options)) {
      if (/^[ \t\r]*$/.test(text)) continue;
      yield { row: parseRow(text, path, line), path, line, byte };
    }
  } finally {
    await source.close();
  }
}

function parseRow(text: string, path: string, line: number): JsonObject {
  let value;
  try {
    value = parseStrictJson(text, { path: `${path}:${line}` });
  } catch (error) {
    if (!isTunesmithError(error)) throw error;
    throw new InputError("JSON_INVALID", error.message, { ...error.details, path, line, cause: error });
  }
  if (value instanceof Map) return value;
  throw new DataError("VALUE_INVALID", `${path}:${line}: the line is JSON but not an object`, {
    path,
    line,
    expected: 'one JSON object per line, like {"prompt": "…", "completion": "…"}',
    received: text.slice(0, 40),
    fix: "write one object per line (JSON Lines), not one array around all rows",
  });
}
