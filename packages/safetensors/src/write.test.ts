import fc from "fast-check";
import { memoryFiles, seededIntegers } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { DTYPES, openSafetensors, writeSafetensors } from "./index.ts";
import type { SafetensorsErrorCode, TensorToWrite } from "./index.ts";

async function written(
  tensors: Iterable<[string, TensorToWrite]>,
  metadata?: Iterable<[string, string]>,
): Promise<Uint8Array> {
  const files = memoryFiles();
  await writeSafetensors(files, "f", new Map(tensors), metadata && new Map(metadata));
  return files.contents.get("f")!;
}

const u8 = (...data: number[]): TensorToWrite => ({ dtype: "U8", shape: [data.length], data: Uint8Array.from(data) });

describe("the reference implementation's bytes", () => {
  // from safetensors 0.8.0: serialize() of these tensors, given in another order
  test("several dtypes, names to escape, characters beyond U+FFFF", async () => {
    const header =
      '{"__metadata__":{"format":"pt"},"q\\"\\\\\\n\\u0001é\x7f/":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},' +
      '"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"ﬁ":{"dtype":"F32","shape":[1,1],"data_offsets":[12,16]},' +
      '"😀":{"dtype":"F32","shape":[],"data_offsets":[16,20]},"bf":{"dtype":"BF16","shape":[0,3],"data_offsets":[20,20]},' +
      '"h":{"dtype":"F16","shape":[1],"data_offsets":[20,22]},"a":{"dtype":"U8","shape":[2],"data_offsets":[22,24]},' +
      '"ok":{"dtype":"BOOL","shape":[1],"data_offsets":[24,25]}}';
    const length = new TextEncoder().encode(header).length;
    expect(length).toBe(0x1f0);
    const data = ["0500000000000000", "0000803f", "00004040", "00000040", "003c", "0102", "01"].join("");
    const expected = `f001000000000000${Buffer.from(header).toString("hex")}${data}`;
    const bytes = await written(
      [
        ["b", { dtype: "F32", shape: [1], data: Uint8Array.of(0, 0, 0x80, 0x3f) }],
        ["a", u8(1, 2)],
        ["😀", { dtype: "F32", shape: [], data: Uint8Array.of(0, 0, 0, 0x40) }],
        ["ﬁ", { dtype: "F32", shape: [1, 1], data: Uint8Array.of(0, 0, 0x40, 0x40) }],
        ['q"\\\n\u0001é\x7f/', { dtype: "I64", shape: [1], data: Uint8Array.of(5, 0, 0, 0, 0, 0, 0, 0) }],
        ["h", { dtype: "F16", shape: [1], data: Uint8Array.of(0, 0x3c) }],
        ["bf", { dtype: "BF16", shape: [0, 3], data: new Uint8Array(0) }],
        ["ok", { dtype: "BOOL", shape: [1], data: Uint8Array.of(1) }],
      ],
      [["format", "pt"]],
    );
    expect(Buffer.from(bytes).toString("hex")).toBe(expected);
  });

  test("nothing, and metadata only: padded to 8 bytes", async () => {
    expect(Buffer.from(await written([])).toString("latin1")).toBe("\b\0\0\0\0\0\0\0{}      ");
    const expected = ' \0\0\0\0\0\0\0{"__metadata__":{"k":"v"}}      ';
    expect(Buffer.from(await written([], [["k", "v"]])).toString("latin1")).toBe(expected);
  });

  test("metadata keys are sorted, names by code point", async () => {
    const bytes = await written(
      [
        ["\ufb01", u8()],
        ["😀", u8()],
        ["😁", u8()],
        ["a", u8()],
        ["", u8()],
      ],
      [
        ["b", "1"],
        ["a", "2"],
      ],
    );
    const names = [
      ...Buffer.from(bytes)
        .toString("utf8")
        .matchAll(/"([^"]*)":\{"dtype"/g),
    ].map((found) => found[1]);
    expect(names).toEqual(["", "a", "\ufb01", "😀", "😁"]);
    expect(Buffer.from(bytes).toString("latin1")).toContain('"__metadata__":{"a":"2","b":"1"}');
  });
});

describe("data in pieces", () => {
  test("asked for once, when its turn comes, and passed on piece by piece", async () => {
    const events: string[] = [];
    const pieces = (name: string): TensorToWrite => ({
      dtype: "U8",
      shape: [3],
      data: async function* () {
        events.push(`start ${name}`);
        yield Uint8Array.of(1);
        events.push(`middle ${name}`);
        yield new Uint8Array(0);
        yield Uint8Array.of(2, 3);
      },
    });
    const files = memoryFiles();
    const taken: number[] = [];
    const slow = {
      ...files,
      writeAtomic: async (_: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) => {
        for await (const chunk of chunks) {
          taken.push(chunk.length);
          events.push(`took ${chunk.length}`);
        }
      },
    };
    await writeSafetensors(
      slow,
      "f",
      new Map([
        ["b", pieces("b")],
        ["a", pieces("a")],
        ["w", { ...u8(9), dtype: "I8" }],
      ]),
    );
    expect(taken.slice(1)).toEqual([1, 1, 0, 2, 1, 0, 2]);
    expect(events.slice(2)).toEqual([
      "start a",
      "took 1",
      "middle a",
      "took 0",
      "took 2",
      "start b",
      "took 1",
      "middle b",
      "took 0",
      "took 2",
    ]);
  });

  test.each([
    ["too few", [2]],
    ["too many", [2, 2]],
    ["none", []],
  ])("%s bytes stop the write, and the old file stays", async (_, sizes) => {
    const files = memoryFiles([["f", Uint8Array.of(42)]]);
    const tensors = new Map<string, TensorToWrite>([
      ["a", { dtype: "U8", shape: [3], data: () => sizes.map((size) => new Uint8Array(size)) }],
    ]);
    await expect(writeSafetensors(files, "f", tensors)).rejects.toMatchObject({ code: "DATA_LENGTH", tensor: "a" });
    expect(files.contents.get("f")).toEqual(Uint8Array.of(42));
  });
});

test("data without end is stopped at the first byte too many", async () => {
  const endless = function* (): Generator<Uint8Array> {
    for (;;) yield new Uint8Array(2);
  };
  await expect(written([["a", { dtype: "U8", shape: [3], data: endless }]])).rejects.toMatchObject({
    code: "DATA_LENGTH",
  });
});

describe("refused before a byte is written", () => {
  const cases: [string, SafetensorsErrorCode, [string, TensorToWrite]][] = [
    ["too few bytes", "DATA_LENGTH", ["a", { dtype: "F32", shape: [2], data: new Uint8Array(7) }]],
    ["too many bytes", "DATA_LENGTH", ["a", { dtype: "F32", shape: [], data: new Uint8Array(5) }]],
    ["the reserved name", "NAME_INVALID", ["__metadata__", u8(1)]],
    ["a lone surrogate", "NAME_INVALID", ["a\ud800", u8(1)]],
    ["a fraction in a shape", "NUMBER_INVALID", ["a", { dtype: "U8", shape: [1.5], data: new Uint8Array(1) }]],
    ["a negative size", "NUMBER_INVALID", ["a", { dtype: "U8", shape: [-1, -1], data: new Uint8Array(1) }]],
    ["NaN in a shape", "NUMBER_INVALID", ["a", { dtype: "U8", shape: [NaN], data: new Uint8Array(0) }]],
    ["an overflow", "SHAPE_OVERFLOW", ["a", { dtype: "U8", shape: [2 ** 30, 2 ** 30], data: () => [] }]],
    ["half a byte", "SUB_BYTE_MISALIGNED", ["a", { dtype: "F4", shape: [3], data: new Uint8Array(2) }]],
  ];
  test.each(cases)("%s: %s", async (_, code, tensor) => {
    const files = memoryFiles();
    const write = writeSafetensors(files, "f", new Map([tensor]));
    await expect(write).rejects.toMatchObject({
      name: "SafetensorsError",
      code,
      tensor: tensor[0],
      details: { path: "f" },
    });
    expect(files.contents.size).toBe(0);
  });

  test("a lone surrogate in metadata", async () => {
    await expect(written([], [["k", "\udc00"]])).rejects.toMatchObject({ code: "NAME_INVALID" });
  });
  test("all tensors together beyond 2^53", async () => {
    const half: TensorToWrite = { dtype: "U8", shape: [2 ** 50 - 1], data: () => [] };
    const many = Array.from({ length: 9 }, (_, i): [string, TensorToWrite] => [`${i}`, half]);
    await expect(written(many)).rejects.toMatchObject({ code: "SHAPE_OVERFLOW" });
  });
  test("a header beyond 100,000,000 bytes", async () => {
    await expect(written([], [["k", "x".repeat(100_000_000)]])).rejects.toMatchObject({ code: "HEADER_TOO_LARGE" });
  });
});

describe("round trip", () => {
  const bits: Record<string, number> = {
    F4: 4,
    F6_E2M3: 6,
    F6_E3M2: 6,
    I16: 16,
    U16: 16,
    F16: 16,
    BF16: 16,
    I32: 32,
    U32: 32,
    F32: 32,
    C64: 64,
    F64: 64,
    I64: 64,
    U64: 64,
  };
  const name = fc.oneof(
    fc.string({ unit: "binary", maxLength: 12 }),
    fc.constantFrom("__proto__", "constructor", "length", "0"),
  );
  const tensor = fc
    .tuple(fc.constantFrom(...DTYPES), fc.array(fc.nat({ max: 4 }), { maxLength: 4 }), fc.nat())
    .map(([dtype, sizes, seed]): TensorToWrite => {
      const shape = dtype.startsWith("F4") || dtype.startsWith("F6") ? [...sizes, 4] : sizes;
      const bytes = (shape.reduce((n, size) => n * size, 1) * (bits[dtype] ?? 8)) / 8;
      return { dtype, shape, data: Uint8Array.from(seededIntegers(bytes, seed, 0, 256)) };
    });
  const text = fc.string({ unit: "binary", maxLength: 20 });

  test("what is written is read back, and the order given does not change the bytes", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(name, tensor), { selector: ([key]) => key, maxLength: 8 }),
        fc.uniqueArray(fc.tuple(text, text), { selector: ([key]) => key, maxLength: 4 }),
        async (tensors, metadata) => {
          fc.pre(tensors.every(([key]) => key !== "__metadata__"));
          const bytes = await written(tensors, metadata);
          expect(await written(tensors.toReversed(), metadata.toReversed())).toEqual(bytes);
          const opened = await openSafetensors(memoryFiles([["f", bytes]]), "f");
          expect(opened.metadata).toEqual(new Map(metadata));
          expect(opened.tensors.size).toBe(tensors.length);
          for (const [key, { dtype, shape, data }] of tensors) {
            expect(opened.tensors.get(key)).toMatchObject({ dtype, shape });
            expect(await opened.read(key)).toEqual(data);
          }
          // aligned: the data section at 8 bytes, every tensor of whole bytes at its element size
          const first = Math.min(...[...opened.tensors.values()].map((info) => info.start), bytes.length);
          if (tensors.length > 0) expect(first % 8).toBe(0);
        },
      ),
      { numRuns: 300, seed: 20261121 },
    );
  });
});
