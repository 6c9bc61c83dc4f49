// JSON.parse keeps the last of duplicate keys, rounds 2^53+1, turns 1e400 into Infinity and accepts any
// depth. Files that decide what a model computes deserve better (RFC 8259, read strictly).

import { InputError } from "./errors.ts";

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
/** Keys live in a Map: a name such as `__proto__` is a name like any other. */
export type JsonObject = Map<string, JsonValue>;

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const ESCAPES: Record<string, string> = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/**
 * Parses JSON text, refusing what silently loses information: duplicate keys, integers beyond ±2^53,
 * numbers beyond float64, nesting beyond `maxDepth`, a byte-order mark, trailing text.
 *
 * @param text - the JSON text
 * @param options.path - named in errors
 * @param options.maxDepth - deepest nesting of arrays and objects, default 64
 * @param options.byte - offset of the text in its file: errors then carry the byte they are about
 * @throws InputError `JSON_INVALID` with the character offset
 */
export function parseStrictJson(
  text: string,
  options: { path?: string; maxDepth?: number; byte?: number } = {},
): JsonValue {
  const maxDepth = options.maxDepth ?? 64;
  let at = 0;

  function fail(because: string, offset: number = at): never {
    const where = options.path === undefined ? "" : `${options.path}: `;
    throw new InputError("JSON_INVALID", `${where}invalid JSON at character ${offset}: ${because}`, {
      ...(options.path === undefined ? {} : { path: options.path }),
      ...(options.byte === undefined ? {} : { byte: options.byte + utf8Length(text, offset) }),
      received: text.slice(offset, offset + 20),
      fix: "repair the JSON text at this place",
    });
  }
  function space(): void {
    for (;;) {
      const c = text.charCodeAt(at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
      at++;
    }
  }
  function string(): string {
    at++; // the opening quote
    let out = "";
    for (;;) {
      PLAIN.lastIndex = at;
      out += PLAIN.exec(text)![0];
      at = PLAIN.lastIndex;
      const c = text[at];
      if (c === '"') {
        at++;
        return out;
      }
      if (c !== "\\") fail(c === undefined ? "the string does not end" : "control character in a string");
      const e = text[at + 1] ?? "";
      if (e === "u") {
        const hex = text.slice(at + 2, at + 6);
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) fail("\\u needs four hexadecimal digits");
        out += String.fromCharCode(parseInt(hex, 16));
        at += 6;
      } else {
        const plain = ESCAPES[e];
        if (plain === undefined) fail(`unknown escape \\${e}`);
        out += plain;
        at += 2;
      }
    }
  }
  function number(): number {
    NUMBER.lastIndex = at;
    const found = NUMBER.exec(text);
    if (!found) fail("expected a value");
    const value = Number(found[0]);
    if (!Number.isFinite(value)) fail("number beyond float64");
    if (!/[.eE]/.test(found[0]) && !Number.isSafeInteger(value)) fail("integer beyond 2^53 - 1 would be rounded");
    at = NUMBER.lastIndex;
    return value;
  }
  function word<T>(literal: string, value: T): T {
    if (!text.startsWith(literal, at)) fail("expected a value");
    at += literal.length;
    return value;
  }
  function array(depth: number): JsonValue[] {
    at++;
    const out: JsonValue[] = [];
    space();
    if (text[at] === "]") {
      at++;
      return out;
    }
    for (;;) {
      out.push(value(depth));
      space();
      const c = text[at];
      if (c !== "," && c !== "]") fail("expected , or ] in an array");
      at++;
      if (c === "]") return out;
    }
  }
  function object(depth: number): JsonObject {
    at++;
    const out: JsonObject = new Map();
    space();
    if (text[at] === "}") {
      at++;
      return out;
    }
    for (;;) {
      space();
      const keyAt = at;
      if (text[at] !== '"') fail("expected a key in double quotes");
      const key = string();
      if (out.has(key)) fail(`duplicate key ${JSON.stringify(key)}`, keyAt);
      space();
      if (text[at] !== ":") fail("expected : after a key");
      at++;
      out.set(key, value(depth));
      space();
      const c = text[at];
      if (c !== "," && c !== "}") fail("expected , or } in an object");
      at++;
      if (c === "}") return out;
    }
  }
  function value(depth: number): JsonValue {
    space();
    switch (text[at]) {
      case "{":
      case "[":
        if (depth >= maxDepth) fail(`nested deeper than ${maxDepth}`);
        return text[at] === "{" ? object(depth + 1) : array(depth + 1);
      case '"':
        return string();
      case "t":
        return word("true", true);
      case "f":
        return word("false", false);
      case "n":
        return word("null", null);
      default:
        return number();
    }
  }

  if (text.charCodeAt(0) === 0xfeff) fail("the text starts with a byte-order mark");
  const result = value(0);
  space();
  if (at < text.length) fail("text after the value");
  return result;
}

/** Bytes of the first `end` UTF-16 code units in UTF-8. */
function utf8Length(text: string, end: number): number {
  let bytes = 0;
  for (let i = 0; i < end; i++) {
    const unit = text.charCodeAt(i);
    // either half of a surrogate pair stands for two of its four bytes
    bytes += unit < 0x80 ? 1 : unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 2 : 3;
  }
  return bytes;
}
