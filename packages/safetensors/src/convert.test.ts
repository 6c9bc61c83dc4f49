import { seededNormals } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { DTYPES, f32ToBf16, f32ToF16, toF32 } from "./index.ts";

const bytesOf = (array: Uint16Array | Float32Array | Uint32Array): Uint8Array => new Uint8Array(array.buffer);
const allWords = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** Bits as the formats define them, in float64 arithmetic. */
function valueOf(word: number, exponentBits: number): number {
  const fractionBits = 15 - exponentBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = word & 0x8000 ? -1 : 1;
  const exponent = (word >> fractionBits) & (2 ** exponentBits - 1);
  const fraction = (word & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
}

describe.each([
  ["F16", 5, f32ToF16],
  ["BF16", 8, f32ToBf16],
] as const)("%s", (dtype, exponentBits, narrow) => {
  const wide = toF32(bytesOf(allWords), dtype);
  const largest = dtype === "F16" ? 0x7bff : 0x7f7f;

  /** Patterns for which a claim does not hold, as text; few of them, to keep a failure readable. */
  const violations = (claim: (word: number) => boolean, most: number = 65536): string[] =>
    Array.from(allWords.subarray(0, most))
      .filter((word) => !claim(word))
      .slice(0, 5)
      .map((word) => word.toString(16));

  test("all 65,536 patterns widen to their value", () => {
    expect(violations((word) => Object.is(wide[word], valueOf(word, exponentBits)))).toEqual([]);
  });

  test("all patterns come back, NaN as NaN with its sign", () => {
    const back = narrow(wide);
    const same = (word: number): boolean =>
      Number.isNaN(wide[word]!)
        ? Number.isNaN(valueOf(back[word]!, exponentBits)) && back[word]! >> 15 === word >> 15
        : back[word] === word;
    expect(violations(same)).toEqual([]);
  });

  test("between two neighbours: the nearer one, and at the middle the even one", () => {
    const rounds = (word: number): boolean => {
      const middle = (wide[word]! + wide[word + 1]!) / 2; // exact in float32 and in float64
      const bits = new Uint32Array(Float32Array.of(middle).buffer)[0]!;
      const around = new Float32Array(Uint32Array.of(bits - 1, bits, bits + 1).buffer);
      const expected = [word, word % 2 === 0 ? word : word + 1, word + 1];
      const minus = narrow(around.map((v) => -v));
      return narrow(around).every((w, i) => w === expected[i] && minus[i] === (0x8000 | w));
    };
    expect(violations(rounds, largest)).toEqual([]);
  });

  test("beyond the largest finite value: up to half a step back to it, then infinity", () => {
    const step = wide[largest]! - wide[largest - 1]!;
    const top = wide[largest]!;
    const limit = top + step / 2; // in float64; for BF16 it is a float32 too
    const below = new Float32Array(Uint32Array.of(new Uint32Array(Float32Array.of(limit).buffer)[0]! - 1).buffer)[0]!;
    const words = narrow(Float32Array.of(top, below, limit, Infinity, -limit, -Infinity, 3.4028234663852886e38));
    expect([...words]).toEqual([
      largest,
      largest,
      largest + 1,
      largest + 1,
      0x8001 + largest,
      0x8001 + largest,
      largest + 1,
    ]);
  });

  test("signalling and low-payload NaN never become infinity", () => {
    const nans = new Float32Array(Uint32Array.of(0x7f800001, 0xff800001, 0x7fc00000, 0x7fffffff).buffer);
    for (const word of narrow(nans)) expect(valueOf(word, exponentBits)).toBeNaN();
  });

  test("float32 subnormals and zeros keep their sign", () => {
    const [tiny, zero, minus] = narrow(Float32Array.of(-1e-45, 0, -0));
    expect([tiny, zero, minus]).toEqual([0x8000, 0, 0x8000]);
  });
});

describe("toF32", () => {
  test("F32 is copied bit by bit, at any alignment, and the source is left alone", () => {
    const values = Float32Array.from(seededNormals(9, 1));
    const shifted = new Uint8Array(37);
    shifted.set(bytesOf(values), 1);
    const source = shifted.subarray(1);
    const wide = toF32(source, "F32");
    expect(wide).toEqual(values);
    wide[0] = 5;
    expect(source).toEqual(bytesOf(values));
    expect(toF32(shifted.subarray(1, 3), "BF16")).toHaveLength(1);
  });
  test("a Node Buffer, whose slices share a pool", () => {
    const pooled = Buffer.from([9, 9, 0x80, 0x3f, 0, 0xc0, 9]).subarray(2, 6);
    expect([...toF32(pooled, "BF16")]).toEqual([1, -2]);
    const wide = toF32(Buffer.from([0, 0, 0x80, 0x3f]), "F32");
    expect([...wide]).toEqual([1]);
  });
  test("NaN payloads of F32 survive", () => {
    const bits = Uint32Array.of(0x7fc12345, 0xff800001);
    expect(new Uint32Array(toF32(bytesOf(bits), "F32").buffer)).toEqual(bits);
  });
  test("empty input gives an empty array", () => {
    for (const dtype of ["F32", "F16", "BF16"] as const) expect(toF32(new Uint8Array(0), dtype)).toHaveLength(0);
  });
  test("a cut-off element is refused", () => {
    expect(() => toF32(new Uint8Array(6), "F32")).toThrow(expect.objectContaining({ code: "DATA_LENGTH" }));
    expect(() => toF32(new Uint8Array(3), "F16")).toThrow(expect.objectContaining({ code: "DATA_LENGTH" }));
  });
  test("every other dtype is refused", () => {
    const others = DTYPES.filter((dtype) => !["F32", "F16", "BF16"].includes(dtype));
    expect(others).toHaveLength(19);
    for (const dtype of others)
      expect(() => toF32(new Uint8Array(8), dtype)).toThrow(expect.objectContaining({ code: "DTYPE_NOT_CONVERTIBLE" }));
  });
  test("a view into a larger buffer narrows only itself", () => {
    const values = Float32Array.of(9, 1, 2, 9);
    expect([...f32ToBf16(values.subarray(1, 3))]).toEqual([0x3f80, 0x4000]);
    expect([...f32ToF16(values.subarray(1, 3))]).toEqual([0x3c00, 0x4000]);
  });
});
