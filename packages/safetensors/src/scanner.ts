// A JSON scanner over bytes for headers: it decodes names one by one (a 100 MB header never becomes one
// string that every name would keep alive), sees duplicate keys, and knows no number but the safe integer.

import { quote, SafetensorsError } from "./errors.ts";
import type { SafetensorsErrorCode } from "./errors.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const COMMA = 0x2c;
const COLON = 0x3a;
const ZERO = 0x30;
const NINE = 0x39;

/** Arrays and objects within each other; a valid header needs 3. */
const MAX_DEPTH = 4;
/** Keys of an object in a field that the format does not know. */
const MAX_SKIPPED_KEYS = 1024;

/** Bytes checked for UTF-8 at a time, so that no second copy of a large header is made. */
const PIECE = 4096;

export interface Scanner {
  /** Fails at the current position. */
  fail(code: SafetensorsErrorCode, because: string): never;
  /** True if the next value is of this kind, as far as its first byte tells; it is not passed. */
  starts(what: "object" | "array" | "string" | "null"): boolean;
  /** A string, which must come next. */
  string(): string;
  /** An integer from 0 to 2^53 − 1, which must come next. */
  integer(): number;
  /** Any value; its content is checked and dropped. */
  skip(): void;
  /** Calls `member` after each key of the object that must come next; it has to consume the value. */
  object(member: (key: string) => void): void;
  /** Calls `element` before each element of the array that must come next; it has to consume it. */
  array(element: () => void): void;
  /** Fails unless nothing but white space is left. */
  end(): void;
}

/** What is scanned, for errors. */
export interface ScannedText {
  /** the file */
  readonly path: string;
  /** position of the bytes in the file */
  readonly base: number;
  readonly kind: "header" | "index";
}

/**
 * @param bytes - UTF-8; checked at once, so that a bad byte is found wherever it is
 * @throws {@link SafetensorsError} `HEADER_NOT_UTF8`; later `HEADER_NOT_JSON`, `HEADER_TOO_DEEP`, `DUPLICATE_KEY`,
 *   `NUMBER_INVALID`, `LIMIT_EXCEEDED`. For an index `INDEX_INVALID` stands for the first three
 */
export function createScanner(bytes: Uint8Array, { path, base, kind }: ScannedText): Scanner {
  // ignoreBOM: U+FEFF at the start of a name is part of the name
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  // short texts by a hash of their bytes: "dtype", "shape" and the like come a thousand times
  const recent: (string | undefined)[] = Array.from({ length: 256 });
  let at = 0;
  let depth = 0;

  function fail(code: SafetensorsErrorCode, because: string, where: number = at): never {
    const own = kind === "index" && code.startsWith("HEADER_") ? "INDEX_INVALID" : code;
    throw new SafetensorsError(own, `${path}: ${kind}, byte ${base + where}: ${because}`, {
      path,
      offset: base + where,
      fix: "the file is damaged or was written by a faulty program; download or export it again",
    });
  }

  checkUtf8(bytes, (where) => fail("HEADER_NOT_UTF8", `not UTF-8 within the next ${PIECE} bytes`, where));

  /** Passes white space; the byte after it, or -1 at the end. */
  function peek(): number {
    for (;;) {
      const byte = bytes[at];
      if (byte === undefined) return -1;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
      at++;
    }
  }

  function expect(byte: number, what: string): void {
    if (peek() !== byte)
      fail("HEADER_NOT_JSON", at < bytes.length ? `expected ${what}` : `expected ${what}, the text ends`);
    at++;
  }

  const FIRST = { object: OPEN_OBJECT, array: OPEN_ARRAY, string: QUOTE, null: 0x6e };
  function starts(what: keyof typeof FIRST): boolean {
    return peek() === FIRST[what];
  }

  function string(): string {
    expect(QUOTE, 'a text in "');
    const start = at;
    let escaped = false;
    let plain = true;
    let hash = 0;
    for (;;) {
      const byte = bytes[at];
      if (byte === undefined) fail("HEADER_NOT_JSON", "the text does not end", start - 1);
      if (byte === QUOTE) break;
      if (byte < 0x20) fail("HEADER_NOT_JSON", "control character in a text");
      if (byte === BACKSLASH) {
        escaped = true;
        at++; // what is escaped may be a quote
      }
      if (byte >= 0x80) plain = false;
      hash = (Math.imul(hash, 31) + byte) & 0xff;
      at++;
    }
    const length = at - start;
    const known = recent[hash];
    if (known !== undefined && isAt(known, start, length)) {
      at++;
      return known;
    }
    const raw = bytes.subarray(start, at);
    at++;
    const text = decoder.decode(raw);
    if (escaped) return unescape(text, start);
    if (plain && length <= 16) recent[hash] = text;
    return text;
  }

  /** True if the bytes at `start` spell this ASCII text. */
  function isAt(text: string, start: number, length: number): boolean {
    if (text.length !== length) return false;
    for (let i = 0; i < length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false;
    return true;
  }

  function unescape(text: string, start: number): string {
    let result: string;
    try {
      // a lone JSON string: none of what makes JSON.parse lenient can occur in it
      result = JSON.parse(`"${text}"`) as string;
    } catch {
      fail("HEADER_NOT_JSON", `bad escape in the text ${quote(text)}`, start);
    }
    if (/\p{Surrogate}/u.test(result)) fail("HEADER_NOT_JSON", `lone surrogate in the text ${quote(text)}`, start);
    return result;
  }

  function integer(): number {
    const first = peek();
    const start = at;
    let value = 0;
    while (bytes[at]! >= ZERO && bytes[at]! <= NINE) {
      value = value * 10 + (bytes[at]! - ZERO); // the digit first: value * 10 + 57 may pass 2^53
      at++;
    }
    // a digit too many makes the sum inexact, but never small again
    if (value > Number.MAX_SAFE_INTEGER) fail("NUMBER_INVALID", "integer beyond 2^53 - 1", start);
    if (at === start) {
      const minus = first === 0x2d;
      fail(minus ? "NUMBER_INVALID" : "HEADER_NOT_JSON", minus ? "negative number" : "expected an integer", start);
    }
    if (first === ZERO && at > start + 1) fail("NUMBER_INVALID", "integer with a leading zero", start);
    const after = bytes[at];
    if (after === 0x2e || after === 0x65 || after === 0x45)
      fail("NUMBER_INVALID", "number with a fraction or an exponent", start);
    return value;
  }

  function enter(): void {
    if (++depth > MAX_DEPTH) fail("HEADER_TOO_DEEP", `nested deeper than ${MAX_DEPTH}`);
  }

  function object(member: (key: string) => void): void {
    expect(OPEN_OBJECT, "an object");
    enter();
    if (peek() === CLOSE_OBJECT) at++;
    else {
      do {
        const key = string();
        expect(COLON, ": after a key");
        member(key);
      } while (more(CLOSE_OBJECT, "}"));
    }
    depth--;
  }

  function array(element: () => void): void {
    expect(OPEN_ARRAY, "an array");
    enter();
    if (peek() === CLOSE_ARRAY) at++;
    else {
      do element();
      while (more(CLOSE_ARRAY, "]"));
    }
    depth--;
  }

  /** Passes the comma before another member (true) or the closing bracket (false). */
  function more(close: number, closing: string): boolean {
    const byte = peek();
    if (byte !== COMMA && byte !== close) fail("HEADER_NOT_JSON", `expected , or ${closing}`);
    at++;
    return byte === COMMA;
  }

  function word(text: string): void {
    for (let i = 0; i < text.length; i++)
      if (bytes[at + i] !== text.charCodeAt(i)) fail("HEADER_NOT_JSON", "expected a value");
    at += text.length;
  }

  function skip(): void {
    switch (peek()) {
      case OPEN_OBJECT: {
        const keys = new Set<string>();
        object((key) => {
          if (keys.has(key)) fail("DUPLICATE_KEY", `the key ${quote(key)} appears twice`);
          if (keys.size === MAX_SKIPPED_KEYS)
            fail("LIMIT_EXCEEDED", `more than ${MAX_SKIPPED_KEYS} keys in an unknown field`);
          keys.add(key);
          skip();
        });
        return;
      }
      case OPEN_ARRAY:
        return array(skip);
      case QUOTE:
        string();
        return;
      case 0x74:
        return word("true");
      case 0x66:
        return word("false");
      case 0x6e:
        return word("null");
      default:
        number();
    }
  }

  /** Any number of JSON that float64 has: its value is not used. */
  function number(): void {
    const start = at;
    while (isOfNumber(bytes[at])) at++;
    const text = decoder.decode(bytes.subarray(start, Math.min(at, start + 400)));
    const valid = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/.test(text);
    if (!valid) fail("HEADER_NOT_JSON", "expected a value", start);
    if (at > start + 400 || !Number.isFinite(Number(text))) fail("NUMBER_INVALID", "number beyond float64", start);
  }

  function end(): void {
    if (peek() !== -1) fail("HEADER_NOT_JSON", "text behind the header's object");
  }

  return { fail: (code, because) => fail(code, because), starts, string, integer, skip, object, array, end };
}

function checkUtf8(bytes: Uint8Array, fail: (where: number) => never): void {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let at = 0; at <= bytes.length; at += PIECE) {
    const last = at + PIECE > bytes.length;
    try {
      decoder.decode(bytes.subarray(at, at + PIECE), { stream: !last });
    } catch {
      fail(at);
    }
  }
}

/** One of the characters that numbers are made of. */
function isOfNumber(byte: number | undefined): boolean {
  return byte !== undefined && "+-.0123456789Ee".includes(String.fromCharCode(byte));
}
