// Rows and files that are wrong in ways seen in the wild, as a table: what is in the file and what must be said about it.
// Each bad line stands at the start, in the middle and at the end of a file of good ones.

import { gzipSync } from "node:zlib";

/** What must be said of a bad row: code, and the byte of the file where there is one. */
export interface Complaint {
  readonly code: string;
  /** 1-based line; undefined where the format has none */
  readonly line?: number;
  readonly row?: number;
  readonly byte?: number;
}

export interface Vector {
  readonly name: string;
  readonly path: string;
  readonly content: Uint8Array;
  /** rows that are good */
  readonly rows: number;
  readonly blank?: number;
  /** bad rows in order; the first one stops a strict read */
  readonly bad?: readonly Complaint[];
  /** the file as a whole is broken: `skip` is no way out */
  readonly fatal?: Complaint;
  readonly options?: {
    readonly rowsKey?: string;
    readonly format?: string;
    readonly sampleBy?: "document" | "paragraph" | "line";
  };
}

export const MAX_ROW_BYTES = 2000;

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const join = (...parts: (string | Uint8Array)[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...(typeof part === "string" ? utf8(part) : part)]));
const bytes = (...values: number[]): Uint8Array => Uint8Array.of(...values);

const GOOD = '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}';
const say = (content: string): string => GOOD.replace("hi", content);
const inText = (...values: number[]): Uint8Array => {
  const [before, after] = GOOD.split("hi") as [string, string];
  return join(before, bytes(...values), after);
};
/** where the user's text begins in a line */
const TEXT = GOOD.indexOf("hi");

type BadLine = readonly [name: string, line: string | Uint8Array, code: string, byte?: number];

const BAD_LINES: readonly BadLine[] = [
  ["a bracket too many", '{"messages": [}', "JSON_INVALID", 14],
  ["cut in a string", '{"messages": [{"role": "us', "JSON_INVALID", 26],
  ["cut after a key", '{"messages"', "JSON_INVALID", 11],
  ["a trailing comma", '{"a": 1,}', "JSON_INVALID", 8],
  ["a duplicate key", '{"messages": [], "messages": []}', "JSON_INVALID", 17],
  ["a duplicate key in a message", GOOD.replace('"content": "hi"', '"role": "user"'), "JSON_INVALID", 31],
  ["two objects on a line", `${GOOD}${GOOD}`, "JSON_INVALID", GOOD.length],
  ["text after the object", `${GOOD} x`, "JSON_INVALID", GOOD.length + 1],
  ["a lone carriage return between objects", `${GOOD}\r${GOOD}`, "JSON_INVALID", GOOD.length + 1],
  ["a raw carriage return in a string", say("a\rb"), "JSON_INVALID", TEXT + 1],
  ["a raw tab in a string", say("a\tb"), "JSON_INVALID", TEXT + 1],
  ["a raw NUL in a string", say("a\0b"), "JSON_INVALID", TEXT + 1],
  ["a NUL alone", "\0", "JSON_INVALID", 0],
  ["single quotes", "{'a': 1}", "JSON_INVALID", 1],
  ["a key without quotes", "{a: 1}", "JSON_INVALID", 1],
  ["a comment", `${GOOD} // fine`, "JSON_INVALID", GOOD.length + 1],
  ["NaN", '{"a": NaN}', "JSON_INVALID", 6],
  ["Infinity", '{"a": Infinity}', "JSON_INVALID", 6],
  ["a number beyond float64", '{"a": 1e400}', "JSON_INVALID", 6],
  ["an integer that would be rounded", '{"a": 9007199254740993}', "JSON_INVALID", 6],
  ["a leading zero", '{"a": 01}', "JSON_INVALID", 7],
  ["an unknown escape", say("\\x41"), "JSON_INVALID", TEXT],
  ["a short unicode escape", say("\\u12"), "JSON_INVALID", TEXT],
  ["nesting without end", `{"a": ${"[".repeat(100)}${"]".repeat(100)}}`, "JSON_INVALID", 69],
  ["a byte-order mark inside the file", "\ufeff{}", "JSON_INVALID", 0],
  ["a no-break space before the object", "\u00a0{}", "JSON_INVALID", 0],
  ["an array", `[${GOOD}]`, "VALUE_INVALID", 0],
  ["a string", '"text"', "VALUE_INVALID", 0],
  ["a number", "7", "VALUE_INVALID", 0],
  ["null", "null", "VALUE_INVALID", 0],
  ["a byte that is never UTF-8", inText(0xff), "UTF8_INVALID", TEXT],
  ["Latin-1", inText(0x61, 0xe9, 0x62), "UTF8_INVALID", TEXT + 1],
  ["a continuation byte alone", inText(0x80), "UTF8_INVALID", TEXT],
  ["an overlong NUL", inText(0xc0, 0x80), "UTF8_INVALID", TEXT],
  ["an overlong slash of three bytes", inText(0xe0, 0x80, 0xaf), "UTF8_INVALID", TEXT],
  ["an overlong form of four bytes", inText(0xf0, 0x80, 0x80, 0xaf), "UTF8_INVALID", TEXT],
  ["a surrogate in UTF-8", inText(0xed, 0xa0, 0x80), "UTF8_INVALID", TEXT],
  ["beyond U+10FFFF", inText(0xf4, 0x90, 0x80, 0x80), "UTF8_INVALID", TEXT],
  ["a sequence cut short", inText(0x61, 0xe2, 0x82), "UTF8_INVALID", TEXT + 1],
  ["UTF-16", bytes(0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00), "UTF8_INVALID", 0],
  ["longer than the limit", say("x".repeat(MAX_ROW_BYTES)), "LINE_TOO_LONG", 0],
  ["a lone high surrogate", say("\\ud83d"), "TEXT_INVALID", 0],
  ["a lone low surrogate", say("\\udc00 x"), "TEXT_INVALID", 0],
  ["an unknown role", GOOD.replace("assistant", "bot"), "ROLE_UNKNOWN", 0],
  ["a role in capitals", GOOD.replace("user", "USER"), "ROLE_UNKNOWN", 0],
  ["no messages", '{"messages": []}', "VALUE_INVALID", 0],
  ["messages that are no list", '{"messages": {"role": "user"}}', "VALUE_INVALID", 0],
  ["messages of strings", '{"messages": ["hi"]}', "VALUE_INVALID", 0],
  ["a message without a role", '{"messages": [{"content": "hi"}]}', "COLUMN_MISSING", 0],
  ["a message without content", '{"messages": [{"role": "user"}]}', "COLUMN_MISSING", 0],
  ["content that is a number", GOOD.replace('"hi"', "5"), "VALUE_INVALID", 0],
  ["content that is null", GOOD.replace('"hi"', "null"), "VALUE_INVALID", 0],
  ["a column nobody knows", GOOD.replace('{"messages"', '{"extra": 1, "messages"'), "COLUMN_UNKNOWN", 0],
  ["an object without columns", "{}", "COLUMN_MISSING", 0],
];

function positions([name, line, code, offset]: BadLine): Vector[] {
  const bad = typeof line === "string" ? utf8(line) : line;
  const start = GOOD.length + 1;
  const complain = (at: number, byte: number): Complaint => ({
    code,
    line: at,
    ...(offset === undefined ? {} : { byte: byte + offset }),
  });
  const atStart: Complaint = name.startsWith("a byte-order mark")
    ? { code: "UTF8_INVALID", line: 1, byte: 0 }
    : complain(1, 0);
  const file = (where: string, content: Uint8Array, complaint: Complaint): Vector => ({
    name: `${name}, ${where}`,
    path: "d.jsonl",
    content,
    rows: 2,
    bad: [complaint],
    options: { format: "messages" },
  });
  return [
    file("first", join(bad, "\n", GOOD, "\n", GOOD, "\n"), atStart),
    file("between good ones, CRLF", join(GOOD, "\r\n", bad, "\r\n", GOOD), complain(2, start + 1)),
    file("last, without a line end", join(GOOD, "\n", GOOD, "\n", bad), complain(3, 2 * start)),
  ];
}

const jsonl = (name: string, content: string | Uint8Array, rows: number, blank = 0): Vector => ({
  name: `accepted: ${name}`,
  path: "d.jsonl",
  content: join(content),
  rows,
  blank,
});

const ACCEPTED: readonly Vector[] = [
  jsonl("LF", `${GOOD}\n${GOOD}\n`, 2),
  jsonl("CRLF", `${GOOD}\r\n${GOOD}\r\n`, 2),
  jsonl("LF and CRLF mixed", `${GOOD}\n${GOOD}\r\n${GOOD}`, 3),
  jsonl("no line end at the end", GOOD, 1),
  jsonl("blank lines", `\n${GOOD}\n\n\n${GOOD}\n\n`, 2, 4),
  jsonl("lines of spaces and tabs", ` \t\r\n${GOOD}\n  `, 1, 2),
  jsonl("lone carriage returns between lines", `${GOOD}\n\r\r\n${GOOD}\n`, 2, 1),
  jsonl("spaces around the object", `  ${GOOD}\t \n`, 1),
  jsonl("a carriage return inside the object, between tokens", GOOD.replace(": [", ":\r["), 1),
  jsonl("U+2028 and U+2029 in a string", say("a\u2028b\u2029c"), 1),
  jsonl("U+0085 and U+FEFF in a string", say("a\u0085b\ufeffc"), 1),
  jsonl("an escaped NUL", say("a\\u0000b"), 1),
  jsonl("an emoji as itself and as a pair of escapes", `${say("🦊")}\n${say("\\ud83e\\udd8a")}`, 2),
  jsonl("combining marks", say("e\u0301"), 1),
  jsonl("escapes of every kind", say('\\"\\\\\\/\\b\\f\\n\\r\\t'), 1),
];

const packed = gzipSync(utf8(`${GOOD}\n${GOOD}\n`));
const gz = (name: string, content: Uint8Array, code?: string): Vector => ({
  name: `gzip: ${name}`,
  path: "d.jsonl.gz",
  content,
  rows: 2,
  ...(code === undefined ? {} : { fatal: { code } }),
});

const GZIP: readonly Vector[] = [
  gz("a whole member", packed),
  gz("cut in the middle", packed.subarray(0, packed.length >> 1), "GZIP_INVALID"),
  gz("cut in the trailer", packed.subarray(0, packed.length - 2), "GZIP_INVALID"),
  gz(
    "a wrong checksum",
    packed.map((byte, i) => (i === packed.length - 6 ? byte ^ 1 : byte)),
    "GZIP_INVALID",
  ),
  gz(
    "a wrong size",
    packed.map((byte, i) => (i === packed.length - 1 ? byte ^ 1 : byte)),
    "GZIP_INVALID",
  ),
  gz("two members", join(packed, packed), "GZIP_INVALID"),
  gz("bytes after the end", join(packed, "more"), "GZIP_INVALID"),
  gz("zeros after the end", join(packed, new Uint8Array(512)), "GZIP_INVALID"),
  gz("text that is no gzip", utf8(`${GOOD}\n${GOOD}\n`), "GZIP_INVALID"),
  gz("nothing", new Uint8Array(), "GZIP_INVALID"),
  { ...gz("a bomb", gzipSync(new Uint8Array(2 ** 27).fill(0x20)), "GZIP_BOMB") },
  {
    name: "gzip: a bad line inside",
    path: "d.jsonl.gz",
    content: gzipSync(utf8(`${GOOD}\n{\n${GOOD}\n`)),
    rows: 2,
    bad: [{ code: "JSON_INVALID", line: 2, byte: GOOD.length + 2 }],
  },
];

const doc = (name: string, content: string | Uint8Array, rest: Partial<Vector> & { rows: number }): Vector => ({
  name: `JSON: ${name}`,
  path: "d.json",
  content: join(content),
  ...rest,
});
const fatalDoc = (name: string, content: string, byte: number, line = 1, rowsKey?: string): Vector =>
  doc(name, content, {
    rows: 0,
    fatal: { code: "JSON_INVALID", line, byte },
    ...(rowsKey === undefined ? {} : { options: { rowsKey } }),
  });

const JSON_DOCUMENTS: readonly Vector[] = [
  doc("an array of rows", `[${GOOD}, ${GOOD}]`, { rows: 2 }),
  doc("an array over many lines", `\n[\n  ${GOOD},\n  ${GOOD}\n]\n`, { rows: 2 }),
  doc("one object is one row", `\n${GOOD}\n`, { rows: 1 }),
  doc("rows under a key", `{"version": [1, {"a": "]"}], "rows": [${GOOD}], "n": 1}`, {
    rows: 1,
    options: { rowsKey: "rows" },
  }),
  doc("quotes and brackets inside strings", `[${say('a\\"]}, {[b')}]`, { rows: 1 }),
  doc("a bad row among good ones", `[${GOOD},\n{"messages": 5},\n${GOOD}]`, {
    rows: 2,
    bad: [{ code: "VALUE_INVALID", line: 2, row: 2, byte: GOOD.length + 3 }],
  }),
  doc("a row that is no object", `[${GOOD},\n7]`, {
    rows: 1,
    bad: [{ code: "VALUE_INVALID", line: 2, row: 2, byte: GOOD.length + 3 }],
  }),
  doc("a broken row whose end is known", `[${GOOD},\n{"a" 1}]`, {
    rows: 1,
    bad: [{ code: "JSON_INVALID", line: 2, row: 2, byte: GOOD.length + 8 }],
  }),
  doc("invalid UTF-8 in a row", join(`[${GOOD},`, inText(0xff), "]"), {
    rows: 1,
    bad: [{ code: "UTF8_INVALID", line: 1, row: 2, byte: GOOD.length + 2 + TEXT }],
  }),
  doc("a row longer than the limit", `[${GOOD},${say("x".repeat(MAX_ROW_BYTES))},${GOOD}]`, {
    rows: 2,
    bad: [{ code: "LINE_TOO_LONG", line: 1, row: 2, byte: GOOD.length + 2 }],
  }),
  fatalDoc("cut after a row", `[${GOOD},\n`, GOOD.length + 3, 2),
  fatalDoc("cut in a row", `[${GOOD}, {"a"`, GOOD.length + 7),
  fatalDoc("no comma between rows", `[${GOOD} ${GOOD}]`, GOOD.length + 2),
  fatalDoc("a trailing comma", `[${GOOD},]`, GOOD.length + 2),
  fatalDoc("text after the array", `[${GOOD}] x`, GOOD.length + 3),
  fatalDoc("JSON Lines under another name", `${GOOD}\n${GOOD}\n`, GOOD.length + 1, 2),
  fatalDoc("a bare word", "rows", 0),
  fatalDoc("an array where a key is named", `[${GOOD}]`, 0, 1, "rows"),
  fatalDoc("no list under the key", '{"rows": 5}', 9, 1, "rows"),
  fatalDoc("a key twice", `{"rows": [${GOOD}], "rows": []}`, GOOD.length + 19, 1, "rows"),
  doc("the key is missing", '{"data": []}', { rows: 0, fatal: { code: "JSON_INVALID" }, options: { rowsKey: "rows" } }),
  doc("a byte-order mark", `\ufeff[${GOOD}]`, { rows: 0, fatal: { code: "UTF8_INVALID", line: 1, byte: 0 } }),
];

const csv = (name: string, content: string | Uint8Array, rest: Partial<Vector> & { rows: number }): Vector => ({
  name: `CSV: ${name}`,
  path: "d.csv",
  content: join(content),
  ...rest,
});
const HEADER = "prompt,completion\n";
const badCsv = (name: string, record: string | Uint8Array, code: string, byte = 0): Vector =>
  csv(name, join(HEADER, 'a,"b\nb"\n', record, "\nc,d\n"), {
    rows: 2,
    bad: [{ code, line: 4, row: 2, byte: HEADER.length + 8 + byte }],
  });

const CSV: readonly Vector[] = [
  csv("plain", `${HEADER}a,b\nc,d\n`, { rows: 2 }),
  csv("CRLF, no last line end", "prompt,completion\r\na,b\r\nc,d", { rows: 2 }),
  csv("line breaks, commas and quotes in quotes", `${HEADER}"a\r\n,""b""","\nd"\n`, { rows: 1 }),
  csv("empty fields", `${HEADER}"",b\n,b\n`, { rows: 2 }),
  csv("blank lines", `\n${HEADER}\na,b\n\n`, { rows: 1, blank: 3 }),
  { ...csv("a tab between fields", "prompt\tcompletion\na\tb,c\n", { rows: 1 }), path: "d.tsv" },
  badCsv("too few fields", "a", "CSV_INVALID"),
  badCsv("too many fields", "a,b,c", "CSV_INVALID"),
  badCsv("a quote inside a bare field", 'a,b "c" d', "CSV_INVALID"),
  badCsv("text after a closing quote", '"a" x,b', "CSV_INVALID"),
  badCsv("a lone carriage return", "a,b\rc", "CSV_INVALID"),
  badCsv("a NUL", "a,b\0", "CSV_INVALID"),
  badCsv("invalid UTF-8", join("a,", bytes(0xe9)), "UTF8_INVALID", 2),
  badCsv("longer than the limit", `a,${"x".repeat(MAX_ROW_BYTES)}`, "LINE_TOO_LONG"),
  csv("a quote that never closes", `${HEADER}a,b\n"c,d\ne,f\n`, {
    rows: 0,
    fatal: { code: "CSV_INVALID", line: 3, byte: HEADER.length + 4 },
  }),
  csv("two columns of one name", "prompt,prompt\na,b\n", { rows: 0, fatal: { code: "CSV_INVALID", line: 1, byte: 0 } }),
  csv("a column without a name", "prompt,\na,b\n", { rows: 0, fatal: { code: "CSV_INVALID", line: 1, byte: 0 } }),
  csv("a byte-order mark", `\ufeff${HEADER}a,b\n`, { rows: 0, fatal: { code: "UTF8_INVALID", line: 1, byte: 0 } }),
];

const text = (name: string, content: string | Uint8Array, rest: Partial<Vector> & { rows: number }): Vector => ({
  name: `text: ${name}`,
  path: "d.txt",
  content: join(content),
  ...rest,
});

const TEXTS: readonly Vector[] = [
  text("a document", "one\n\ntwo\n", { rows: 1 }),
  text("paragraphs", "\n\none\none\n\n \ntwo\r\n\r\nthree", { rows: 3, options: { sampleBy: "paragraph" } }),
  text("lines", "one\n\ntwo\r\nthree", { rows: 3, blank: 1, options: { sampleBy: "line" } }),
  text("a line with a NUL", "one\na\0b\n", {
    rows: 1,
    bad: [{ code: "TEXT_INVALID", line: 2, byte: 4 }],
    options: { sampleBy: "line" },
  }),
  text("a line that is not UTF-8", join("one\na", bytes(0xe9), "b\n"), {
    rows: 1,
    bad: [{ code: "UTF8_INVALID", line: 2, byte: 5 }],
    options: { sampleBy: "line" },
  }),
  text("a document longer than the limit", "one two ".repeat(MAX_ROW_BYTES), {
    rows: 0,
    bad: [{ code: "LINE_TOO_LONG", line: 1, byte: 0 }],
  }),
];

export const VECTORS: readonly Vector[] = [
  ...BAD_LINES.flatMap(positions),
  ...ACCEPTED,
  ...GZIP,
  ...JSON_DOCUMENTS,
  ...CSV,
  ...TEXTS,
];
