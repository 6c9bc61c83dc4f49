// A JSON document: an array of rows, an object with such an array under a named key, or one object that is the only row.
// Rows are cut out by counting brackets, so memory holds one of them; each is then parsed strictly.

import { InputError } from "@tunesmith/core";
import { byteCursor, type FindEnd, type Piece } from "./cursor.ts";
import { type ByteInput, refuseBom } from "./jsonl.ts";
import { rawRow, type RawRow, tooLong } from "./raw-row.ts";
import { decodeUtf8 } from "./utf8.ts";

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** The end of one value, told by quotes and brackets alone; a bare word ends before what cannot belong to it. */
function valueEnd(): FindEnd {
  let depth = 0;
  let inString = false;
  let escaped = false;
  let bare = false;
  return (chunk, from) => {
    for (let i = from; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) {
          inString = false;
          if (depth === 0) return i + 1;
        }
      } else if (
        depth === 0 &&
        bare &&
        (byte <= 0x20 || byte === COMMA || byte === CLOSE_LIST || byte === CLOSE_OBJECT)
      )
        return i;
      else if (byte === QUOTE) inString = true;
      else if (byte === OPEN_LIST || byte === OPEN_OBJECT) depth++;
      else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) {
        if (--depth <= 0) return i + 1;
      } else if (depth === 0) bare = true;
    }
    return -1;
  };
}

/**
 * @param rowsKey - the key whose array holds the rows, where the document is an object
 * @throws InputError `JSON_INVALID` where the document's own structure is broken: what follows cannot be counted
 */
export async function* readJsonDocument(
  input: ByteInput,
  rowsKey: string | undefined,
): AsyncGenerator<RawRow, void, undefined> {
  const { path, maxRowBytes } = input;
  const cursor = byteCursor(input.bytes, maxRowBytes);
  const fail = (expected: string, received: number | undefined): never => {
    const { line, byte } = cursor.place();
    const got = received === undefined ? "the end of the file" : JSON.stringify(String.fromCharCode(received));
    throw new InputError("JSON_INVALID", `${path}:${line}: expected ${expected}, found ${got}`, {
      path,
      line,
      byte,
      expected,
      received: got,
      fix:
        received === OPEN_OBJECT
          ? "a file with one object per line is JSON Lines: name it .jsonl or set file_format: jsonl"
          : "repair the JSON text at this place",
    });
  };
  const step: FindEnd = (_, from) => from + 1;
  /** passes one character of the document's own structure */
  const pass = async (character: number, expected: string): Promise<void> => {
    const next = await cursor.peek();
    if (next !== character) fail(expected, next);
    await cursor.take(step);
  };
  const rowOf = (piece: Piece, row: number): RawRow => {
    const at = { path, line: piece.line, row, byte: piece.byte };
    const { bytes } = piece;
    if (bytes === undefined) return tooLong(at, maxRowBytes, "split the row, or check for a bracket that never closes");
    return rawRow(at, () => ({ json: decodeUtf8(bytes, at) }));
  };
  const value = async (expected: string): Promise<Piece> => {
    const next = await cursor.peek();
    if (next === undefined || next === COMMA || next === COLON || next === CLOSE_LIST || next === CLOSE_OBJECT)
      fail(expected, next);
    const piece = (await cursor.take(valueEnd()))!;
    if (!piece.ended && next !== undefined && (next === QUOTE || next === OPEN_LIST || next === OPEN_OBJECT))
      fail("the end of a value", undefined);
    return piece;
  };

  async function* rows(): AsyncGenerator<RawRow, void, undefined> {
    await pass(OPEN_LIST, "[");
    if ((await cursor.peek()) !== CLOSE_LIST) {
      for (let row = 1; ; row++) {
        yield rowOf(await value("a row"), row);
        const next = await cursor.peek();
        if (next === CLOSE_LIST) break;
        await pass(COMMA, ", or ] after a row");
      }
    }
    await cursor.take(step);
  }

  try {
    const first = await cursor.peek();
    if (first === undefined) return;
    if (first === 0xef) refuseBom("\ufeff", { path, byte: cursor.place().byte });
    if (rowsKey !== undefined) yield* rowsUnder(rowsKey);
    else if (first === OPEN_LIST) yield* rows();
    else if (first === OPEN_OBJECT) yield rowOf(await value("an object"), 1);
    else fail("[ or {", first);
    const after = await cursor.peek();
    if (after !== undefined) fail("the end of the file", after);
  } finally {
    await cursor.close();
  }

  async function* rowsUnder(wanted: string): AsyncGenerator<RawRow, void, undefined> {
    await pass(OPEN_OBJECT, `an object with the key ${JSON.stringify(wanted)}`);
    const keys: string[] = [];
    if ((await cursor.peek()) !== CLOSE_OBJECT) {
      for (;;) {
        if ((await cursor.peek()) !== QUOTE) fail("a key in double quotes", await cursor.peek());
        const piece = await value("a key");
        const key = JSON.parse(decodeUtf8(piece.bytes ?? new Uint8Array(), { path, ...piece })) as string;
        if (keys.includes(key)) fail(`keys that differ (${JSON.stringify(key)} is there twice)`, QUOTE);
        keys.push(key);
        await pass(COLON, ": after a key");
        if (key !== wanted) await value("a value");
        else if ((await cursor.peek()) === OPEN_LIST) yield* rows();
        else fail(`an array under ${JSON.stringify(wanted)}`, await cursor.peek());
        if ((await cursor.peek()) === CLOSE_OBJECT) break;
        await pass(COMMA, ", or } after a value");
      }
    }
    await cursor.take(step);
    if (keys.includes(wanted)) return;
    throw new InputError("JSON_INVALID", `${path}: the object has no key ${JSON.stringify(wanted)}`, {
      path,
      expected: wanted,
      received: keys.slice(0, 20).join(", ") || "no keys",
      fix: "set rows_key to the key that holds the rows",
    });
  }
}
