import { existsSync, readFileSync } from "node:fs";
import { memoryFiles } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { openSafetensors, toF32 } from "./index.ts";
import type { SafetensorsErrorCode, SafetensorsFile } from "./index.ts";

/** 8 bytes of length, a header, data; `length` lies about the header where given. */
function file(header: string | Uint8Array, data: ArrayLike<number> = [], length?: bigint): Uint8Array {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

const open = (bytes: Uint8Array): Promise<SafetensorsFile> => openSafetensors(memoryFiles([["f", bytes]]), "f");

/** An entry; parts can be replaced by any JSON text. */
function entry(name: string, part: { dtype?: string; shape?: string; offsets?: string } = {}): string {
  return `"${name}":{"dtype":${part.dtype ?? '"U8"'},"shape":${part.shape ?? "[1]"},"data_offsets":${part.offsets ?? "[0,1]"}}`;
}

const one = entry("a");
const U = (name: string, begin: number, end: number): string =>
  entry(name, { shape: `[${end - begin}]`, offsets: `[${begin},${end}]` });

describe("refused, each with its code", () => {
  const cases: [string, SafetensorsErrorCode, Uint8Array][] = [
    ["an empty file", "FILE_TOO_SMALL", new Uint8Array(0)],
    ["seven bytes", "FILE_TOO_SMALL", new Uint8Array(7)],
    ["a header of 100,000,001 bytes", "HEADER_TOO_LARGE", file("{}", [], 100_000_001n)],
    ["a header of 2^63 bytes", "HEADER_TOO_LARGE", file("{}", [], 2n ** 63n)],
    ["a header of -1 bytes", "HEADER_TOO_LARGE", file("{}", [], 2n ** 64n - 1n)],
    ["a header of 100,000,000 bytes in a small file", "HEADER_BEYOND_FILE", file("{}", [], 100_000_000n)],
    ["a header one byte past the end", "HEADER_BEYOND_FILE", file("{}", [], 3n)],
    ["nothing but a length", "HEADER_BEYOND_FILE", file("", [], 1n)],
    ["a lone continuation byte", "HEADER_NOT_UTF8", file(Uint8Array.of(0x7b, 0x22, 0x80, 0x22, 0x7d))],
    ["a byte that UTF-8 never has", "HEADER_NOT_UTF8", file(Uint8Array.of(0xff))],
    ["an overlong slash", "HEADER_NOT_UTF8", file(Uint8Array.of(0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x7d))],
    ["a surrogate in UTF-8", "HEADER_NOT_UTF8", file(Uint8Array.of(0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x7d))],
    ["a character cut off by the header's end", "HEADER_NOT_UTF8", file(Uint8Array.of(0x7b, 0x7d, 0xe6, 0xa8))],
    ["an empty header", "HEADER_NOT_JSON", file("")],
    ["white space only", "HEADER_NOT_JSON", file("   ")],
    ["an open brace", "HEADER_NOT_JSON", file("{")],
    ["an array", "HEADER_NOT_JSON", file("[]")],
    ["null", "HEADER_NOT_JSON", file("null")],
    ["a byte-order mark", "HEADER_NOT_JSON", file("\ufeff{}")],
    ["a no-break space", "HEADER_NOT_JSON", file("\u00a0{}")],
    ["a NUL behind the object", "HEADER_NOT_JSON", file("{}\0")],
    ["text behind the object", "HEADER_NOT_JSON", file(`{${one}}x`, [0])],
    ["two objects", "HEADER_NOT_JSON", file("{}{}")],
    ["a trailing comma", "HEADER_NOT_JSON", file(`{${one},}`, [0])],
    ["a missing comma", "HEADER_NOT_JSON", file(`{${one}${entry("b")}}`, [0])],
    ["a missing colon", "HEADER_NOT_JSON", file('{"a" 1}')],
    ["a key without quotes", "HEADER_NOT_JSON", file("{a:1}")],
    ["single quotes", "HEADER_NOT_JSON", file("{'a':1}")],
    ["a comment", "HEADER_NOT_JSON", file("{/**/}")],
    ["a text that does not end", "HEADER_NOT_JSON", file('{"a')],
    ["a text that ends in a backslash", "HEADER_NOT_JSON", file('{"a\\')],
    ["a text whose last quote is escaped", "HEADER_NOT_JSON", file('{"a\\"')],
    ["a line break in a text", "HEADER_NOT_JSON", file('{"a\n":1}')],
    ["an escaped line break in a text", "HEADER_NOT_JSON", file('{"a\\\n":1}')],
    ["an unknown escape", "HEADER_NOT_JSON", file('{"\\x":1}')],
    ["half a unicode escape", "HEADER_NOT_JSON", file('{"\\u12":1}')],
    ["a lone surrogate by escape", "HEADER_NOT_JSON", file('{"\\ud800":1}')],
    ["surrogates in the wrong order", "HEADER_NOT_JSON", file('{"\\udc00\\ud800":1}')],
    ["a broken word in an unknown field", "HEADER_NOT_JSON", file(`{"a":{"x":nul}}`)],
    ["an array that does not end", "HEADER_NOT_JSON", file('{"a":{"shape":[1')],
    ["five levels", "HEADER_TOO_DEEP", file('{"a":{"x":[[[]]]}}')],
    ["a hundred thousand levels", "HEADER_TOO_DEEP", file(`{"a":{"x":${"[".repeat(1e5)}`)],
    ["a tensor twice with one range", "DUPLICATE_KEY", file(`{${one},${one}}`, [0])],
    ["a tensor twice with two ranges", "DUPLICATE_KEY", file(`{${U("a", 0, 1)},${U("a", 1, 2)}}`, [0, 0])],
    ["a tensor twice, once with an escape", "DUPLICATE_KEY", file(`{${one},${entry("\\u0061")}}`, [0])],
    ["a dtype twice", "DUPLICATE_KEY", file('{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', [0])],
    ["a shape twice", "DUPLICATE_KEY", file('{"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}', [0])],
    [
      "data_offsets twice",
      "DUPLICATE_KEY",
      file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"data_offsets":[0,1]}}', [0]),
    ],
    ["an unknown field twice", "DUPLICATE_KEY", file('{"a":{"x":1,"x":1}}')],
    ["a key twice in an unknown field", "DUPLICATE_KEY", file('{"a":{"x":{"y":1,"y":1}}}')],
    ["two __metadata__", "DUPLICATE_KEY", file('{"__metadata__":{},"__metadata__":{}}')],
    ["a metadata key twice", "DUPLICATE_KEY", file('{"__metadata__":{"a":"","a":""}}')],
    ["a negative size", "NUMBER_INVALID", file(`{${entry("a", { shape: "[-1]" })}}`, [0])],
    ["minus zero", "NUMBER_INVALID", file(`{${entry("a", { offsets: "[-0,1]" })}}`, [0])],
    ["a fraction", "NUMBER_INVALID", file(`{${entry("a", { shape: "[1.0]" })}}`, [0])],
    ["an exponent", "NUMBER_INVALID", file(`{${entry("a", { offsets: "[0,1e0]" })}}`, [0])],
    ["a leading zero", "NUMBER_INVALID", file(`{${entry("a", { offsets: "[0,01]" })}}`, [0])],
    ["2^53", "NUMBER_INVALID", file(`{${entry("a", { shape: "[9007199254740992,0]", offsets: "[0,0]" })}}`)],
    ["2^53 + 1", "NUMBER_INVALID", file(`{${entry("a", { offsets: "[0,9007199254740993]" })}}`, [0])],
    ["a thousand digits", "NUMBER_INVALID", file(`{${entry("a", { offsets: `[0,${"9".repeat(1000)}]` })}}`, [0])],
    ["metadata that is an array", "METADATA_INVALID", file('{"__metadata__":[]}')],
    ["metadata that starts like null", "HEADER_NOT_JSON", file('{"__metadata__":nul}')],
    ["null metadata twice", "DUPLICATE_KEY", file('{"__metadata__":null,"__metadata__":null}')],
    ["a metadata number", "METADATA_INVALID", file('{"__metadata__":{"n":1}}')],
    ["a metadata object", "METADATA_INVALID", file('{"__metadata__":{"n":{}}}')],
    ["an entry that is a number", "ENTRY_INVALID", file('{"a":1}')],
    ["an entry that is an array", "ENTRY_INVALID", file('{"a":["U8",[1],[0,1]]}', [0])],
    ["no dtype", "ENTRY_INVALID", file('{"a":{"shape":[1],"data_offsets":[0,1]}}', [0])],
    ["no shape", "ENTRY_INVALID", file('{"a":{"dtype":"U8","data_offsets":[0,1]}}', [0])],
    ["no data_offsets", "ENTRY_INVALID", file('{"a":{"dtype":"U8","shape":[1]}}', [0])],
    ["a dtype that is a number", "ENTRY_INVALID", file(`{${entry("a", { dtype: "8" })}}`, [0])],
    ["a shape that is a number", "ENTRY_INVALID", file(`{${entry("a", { shape: "1" })}}`, [0])],
    ["one offset", "ENTRY_INVALID", file(`{${entry("a", { offsets: "[1]" })}}`, [0])],
    ["three offsets", "ENTRY_INVALID", file(`{${entry("a", { offsets: "[0,1,1]" })}}`, [0])],
    ["an unknown dtype", "DTYPE_UNKNOWN", file(`{${entry("a", { dtype: '"Q7"' })}}`, [0])],
    ["a dtype in lower case", "DTYPE_UNKNOWN", file(`{${entry("a", { dtype: '"u8"' })}}`, [0])],
    ["a dtype named like a property", "DTYPE_UNKNOWN", file(`{${entry("a", { dtype: '"constructor"' })}}`, [0])],
    [
      "a shape beyond 2^53 elements",
      "SHAPE_OVERFLOW",
      file(`{${entry("a", { shape: "[4294967296,4294967296]" })}}`, [0]),
    ],
    [
      "an overflow before a zero",
      "SHAPE_OVERFLOW",
      file(`{${entry("a", { shape: "[4294967296,4294967296,0]", offsets: "[0,0]" })}}`),
    ],
    [
      "elements that fit, bits that do not",
      "SHAPE_OVERFLOW",
      file(`{${entry("a", { shape: "[9007199254740991]" })}}`, [0]),
    ],
    [
      "three half bytes",
      "SUB_BYTE_MISALIGNED",
      file(`{${entry("a", { dtype: '"F4"', shape: "[3]", offsets: "[0,2]" })}}`, [0, 0]),
    ],
    [
      "two six-bit numbers",
      "SUB_BYTE_MISALIGNED",
      file(`{${entry("a", { dtype: '"F6_E2M3"', shape: "[2]", offsets: "[0,2]" })}}`, [0, 0]),
    ],
    ["reversed offsets", "OFFSETS_REVERSED", file(`{${entry("a", { offsets: "[1,0]" })}}`, [0])],
    ["a range too short for its shape", "SIZE_MISMATCH", file(`{${entry("a", { dtype: '"F32"' })}}`, [0])],
    ["a range too long for its shape", "SIZE_MISMATCH", file(`{${entry("a", { offsets: "[0,2]" })}}`, [0, 0])],
    ["data for an empty tensor", "SIZE_MISMATCH", file(`{${entry("a", { shape: "[3,0]" })}}`, [0])],
    ["two tensors on one range", "DATA_OVERLAP", file(`{${entry("a")},${entry("b")}}`, [0])],
    ["ranges that overlap in part", "DATA_OVERLAP", file(`{${U("a", 0, 8)},${U("b", 4, 12)}}`, new Uint8Array(12))],
    ["an empty tensor inside another", "DATA_OVERLAP", file(`{${U("a", 0, 4)},${U("b", 2, 2)}}`, [0, 0, 0, 0])],
    ["a hole at the start", "DATA_HOLE", file(`{${U("a", 4, 8)}}`, new Uint8Array(8))],
    ["a hole between", "DATA_HOLE", file(`{${U("b", 8, 12)},${U("a", 0, 4)}}`, new Uint8Array(12))],
    ["an empty tensor behind the end", "DATA_HOLE", file(`{${U("a", 4, 4)}}`)],
    ["two bytes missing", "DATA_BEYOND_FILE", file(`{${U("a", 0, 16)}}`, new Uint8Array(14))],
    ["all data missing", "DATA_BEYOND_FILE", file(`{${U("a", 0, 9007199254740)}}`)],
    ["bytes behind the last tensor", "TRAILING_BYTES", file(`{${U("a", 0, 4)}}`, new Uint8Array(5))],
    ["data without a tensor", "TRAILING_BYTES", file("{}", [0])],
    ["65 dimensions", "LIMIT_EXCEEDED", file(`{${entry("a", { shape: `[${Array(65).fill(1).join()}]` })}}`, [0])],
    [
      "65,537 metadata keys",
      "LIMIT_EXCEEDED",
      file(`{"__metadata__":{${Array.from({ length: 65_537 }, (_, i) => `"${i}":""`).join()}}}`),
    ],
    ["65 unknown fields", "LIMIT_EXCEEDED", file(`{"a":{${Array.from({ length: 65 }, (_, i) => `"${i}":0`).join()}}}`)],
    [
      "1,025 keys in an unknown field",
      "LIMIT_EXCEEDED",
      file(`{"a":{"x":{${Array.from({ length: 1025 }, (_, i) => `"${i}":0`).join()}}}}`),
    ],
  ];

  test.each(cases)("%s: %s", async (_, code, bytes) => {
    const files = memoryFiles([["f", bytes]]);
    await expect(openSafetensors(files, "f")).rejects.toMatchObject({
      name: "SafetensorsError",
      code,
      details: { path: "f" },
    });
    // closed again, and nothing was asked of the file that it does not have
    expect(files.log.closed).toEqual(["f"]);
    for (const { offset, length } of files.log.reads) expect(offset + length).toBeLessThanOrEqual(bytes.length);
  });

  test("the error names tensor and byte, and shows a hostile name on one short line", async () => {
    const name = `\u001b[2J\n${"x".repeat(10_000)}`;
    const header = `{${entry(JSON.stringify(name).slice(1, -1), { dtype: '"F32"', offsets: "[0,3]" })}}`;
    const error = await open(file(header, [0, 0, 0])).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "SIZE_MISMATCH", tensor: name, offset: 8 + header.length });
    const { message } = error as Error;
    expect(message).toContain("hold 3 bytes, but F32 [1] needs 4");
    expect(message.length).toBeLessThan(400);
    expect(message).not.toMatch(/\p{Cc}/u);
  });

  test("a syntax error names its byte in the file", async () => {
    await expect(open(file('{"a":?}'))).rejects.toMatchObject({ code: "ENTRY_INVALID", offset: 13 });
    await expect(open(file('{"a"?}'))).rejects.toMatchObject({ code: "HEADER_NOT_JSON", offset: 12 });
  });
});

describe("accepted", () => {
  test("no tensors at all", async () => {
    const { tensors, metadata } = await open(file("{}"));
    expect(tensors.size + metadata.size).toBe(0);
  });

  test("entries out of order, white space around, an odd header length, unknown fields, empty tensors, scalars", async () => {
    const text = `\t{ ${U("b", 2, 4)} ,\r\n${U("a", 0, 2)}, ${U("e", 2, 2)},
      ${entry("s", { dtype: '"I32"', shape: "[ ]", offsets: "[ 4 , 8 ]" })},
      "x":{"dtype":"U8","shape":[3,0,9],"extra":{"y":[1,true,"z",null]},"data_offsets":[8,8]}} \n`;
    const opened = await open(file(text, [1, 2, 3, 4, 5, 0, 0, 0]));
    const start = 8 + new TextEncoder().encode(text).length;
    expect([...opened.tensors.keys()]).toEqual(["b", "a", "e", "s", "x"]);
    expect(opened.tensors.get("b")).toEqual({ dtype: "U8", shape: [2], start: start + 2, end: start + 4 });
    expect(opened.tensors.get("x")).toEqual({ dtype: "U8", shape: [3, 0, 9], start: start + 8, end: start + 8 });
    expect(await opened.read("b")).toEqual(Uint8Array.of(3, 4));
    expect(await opened.read("s")).toEqual(Uint8Array.of(5, 0, 0, 0));
    expect(await opened.read("x")).toEqual(new Uint8Array(0));
  });

  test("an empty tensor listed after the one that starts where it does", async () => {
    const opened = await open(file(`{${U("b", 0, 4)},${U("e", 0, 0)}}`, [1, 2, 3, 4]));
    expect(await opened.read("e")).toEqual(new Uint8Array(0));
    expect(await opened.read("b")).toEqual(Uint8Array.of(1, 2, 3, 4));
  });

  test("names are names: __proto__, constructor, empty, U+FEFF, escapes, other scripts, emoji, long ones", async () => {
    const long = "é".repeat(3000);
    const names = [
      "__proto__",
      "constructor",
      "",
      "\ufeffbom",
      'q"\\/\u0000\u001f',
      "模型",
      "a😀b",
      "\u{10ffff}",
      long,
    ];
    const header = names.map((name, i) => `${JSON.stringify(name)}:${U("", i, i + 1).slice(3)}`).join();
    const opened = await open(
      file(
        `{${header},${entry("\\ud83d\\ude00", { shape: "[0]", offsets: "[0,0]" })}}`,
        names.map((_, i) => i),
      ),
    );
    expect([...opened.tensors.keys()]).toEqual([...names, "😀"]);
    for (const [i, name] of names.entries()) expect(await opened.read(name)).toEqual(Uint8Array.of(i));
  });

  test("metadata that is null, as the reference does", async () => {
    expect((await open(file('{"__metadata__":null}'))).metadata.size).toBe(0);
  });
  test("metadata, with __proto__ as a key like any other", async () => {
    const { metadata } = await open(file('{"__metadata__":{"format":"pt","__proto__":"x","é":"\\n"}}'));
    expect(metadata).toEqual(
      new Map([
        ["format", "pt"],
        ["__proto__", "x"],
        ["é", "\n"],
      ]),
    );
  });

  test.each([
    ["BOOL", 8],
    ["F4", 4],
    ["F6_E2M3", 6],
    ["F6_E3M2", 6],
    ["U8", 8],
    ["I8", 8],
    ["F8_E5M2", 8],
    ["F8_E4M3", 8],
    ["F8_E8M0", 8],
    ["F8_E4M3FNUZ", 8],
    ["F8_E5M2FNUZ", 8],
    ["I16", 16],
    ["U16", 16],
    ["F16", 16],
    ["BF16", 16],
    ["I32", 32],
    ["U32", 32],
    ["F32", 32],
    ["C64", 64],
    ["F64", 64],
    ["I64", 64],
    ["U64", 64],
  ])("dtype %s has %i bits", async (dtype, bits) => {
    const text = `{${entry("a", { dtype: `"${dtype}"`, shape: "[3,8]", offsets: `[0,${3 * bits}]` })}}`;
    const opened = await open(file(text, new Uint8Array(3 * bits)));
    expect(opened.tensors.get("a")).toMatchObject({ dtype, shape: [3, 8] });
  });

  test("64 dimensions, and four levels in an unknown field", async () => {
    const text = `{${entry("a", { shape: `[${Array(64).fill(1).join()}]` }).slice(0, -1)},"x":[[]]}}`;
    expect((await open(file(text, [0]))).tensors.get("a")!.shape).toHaveLength(64);
  });
});

describe("reading", () => {
  const bytes = file(`{${U("a", 0, 4)},${U("b", 4, 6)}}`, [1, 2, 3, 4, 5, 6]);

  test("opening reads the length and the header only; a tensor reads its own bytes only", async () => {
    const files = memoryFiles([["f", bytes]]);
    const opened = await openSafetensors(files, "f");
    const start = bytes.length - 6;
    expect(files.log.reads).toEqual([
      { path: "f", offset: 0, length: 8 },
      { path: "f", offset: 8, length: start - 8 },
    ]);
    expect(await opened.read("b")).toEqual(Uint8Array.of(5, 6));
    expect(await opened.readRange("a", 1, 2)).toEqual(Uint8Array.of(2, 3));
    expect(await opened.readRange("a", 4, 0)).toEqual(new Uint8Array(0));
    expect(files.log.reads.slice(2)).toEqual([
      { path: "f", offset: start + 4, length: 2 },
      { path: "f", offset: start + 1, length: 2 },
      { path: "f", offset: start + 4, length: 0 },
    ]);
    expect(files.log.closed).toEqual([]);
    await opened.close();
    expect(files.log.closed).toEqual(["f"]);
  });

  test.each([
    [3, 2],
    [-1, 1],
    [0, 5],
    [5, 0],
    [0, -1],
    [0.5, 1],
    [0, 0.5],
    [NaN, 1],
    [0, Infinity],
  ])("bytes %d + %d of a 4-byte tensor are refused: its neighbour starts there", async (from, length) => {
    const opened = await open(bytes);
    await expect(opened.readRange("a", from, length)).rejects.toMatchObject({
      code: "RANGE_OUTSIDE_TENSOR",
      tensor: "a",
    });
  });

  test("an unknown name gets a suggestion", async () => {
    const opened = await open(file(`{${U("model.norm.weight", 0, 1)}}`, [0]));
    const expected = {
      code: "TENSOR_UNKNOWN",
      tensor: "model.norm.wieght",
      details: { fix: 'did you mean "model.norm.weight"?' },
    };
    await expect(opened.read("model.norm.wieght")).rejects.toMatchObject(expected);
    await expect(opened.readRange("toString", 0, 1)).rejects.toMatchObject({ code: "TENSOR_UNKNOWN" });
  });
});

const corpus = new URL("../../../../shared/fixtures/safetensors/safetensors_corpus/", import.meta.url);
const present = existsSync(corpus);
if (!present)
  console.log(
    "skipped: the safetensors corpus in ../shared/fixtures is absent (42 files with the reference's verdicts)",
  );

describe.skipIf(!present)("corpus with the reference implementation's verdicts", () => {
  const index: {
    file: string;
    valid: boolean;
    names?: string[];
    metadata?: object;
    bytes?: Record<string, number[]>;
    values?: Record<string, unknown[]>;
  }[] = present ? JSON.parse(readFileSync(new URL("index.json", corpus), "utf8")) : [];
  test.each(index)("$file", async (expected) => {
    const read = open(readFileSync(new URL(expected.file, corpus)));
    if (!expected.valid) return expect(read).rejects.toMatchObject({ name: "SafetensorsError" });
    const opened = await read;
    if (expected.names) expect([...opened.tensors.keys()]).toEqual(expected.names);
    if (expected.metadata) expect(Object.fromEntries(opened.metadata)).toEqual(expected.metadata);
    for (const [name, values] of Object.entries(expected.values ?? {})) {
      const { dtype } = opened.tensors.get(name)!;
      if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16") continue;
      expect([...toF32(await opened.read(name), dtype)]).toEqual(values.map(Number));
    }
    for (const [name, bytes] of Object.entries(expected.bytes ?? {}))
      expect([...(await opened.read(name))]).toEqual(bytes);
  });
});
