import { dynamicMap } from "@tunesmith/tensor";
import { readGolden, seededNormals } from "@tunesmith/testing";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { goldenPath } from "../../../../tests/support/goldens.ts";
import { blockScales, dequantizeFourBit, quantizeFourBit } from "./quantize.ts";

const read = (name: string): ReturnType<typeof readGolden> => readGolden(readFileSync(goldenPath("nf4", name)));
const f32 = (golden: ReturnType<typeof readGolden>, name: string): Float32Array =>
  Float32Array.from(golden.get(name)!.values);
const u8 = (golden: ReturnType<typeof readGolden>, name: string): Uint8Array =>
  Uint8Array.from(golden.get(name)!.values);
/** bits, so that −0 differs from 0 */
const bits = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length);

test("the dynamic map is bitsandbytes' to the bit", () => {
  expect(bits(dynamicMap())).toEqual(bits(f32(read("tables.safetensors"), "dynamic_map")));
});

const cases = readdirSync(goldenPath("nf4")).filter((name) => name.startsWith("case_"));
test("there are twelve cases", () => expect(cases).toHaveLength(12));

describe.each(cases)("%s", (name) => {
  const golden = read(name);
  const weight = f32(golden, "weight");
  const options = { type: "nf4", blockSize: 64 } as const;

  test("elements and plain scales", () => {
    const { elements, scales } = quantizeFourBit(weight, { ...options, doubleQuant: false }, name);
    expect(elements).toEqual(u8(golden, "packed"));
    expect(bits(scales.scales as Float32Array)).toEqual(bits(f32(golden, "absmax")));
    expect(bits(dequantizeFourBit({ elements, scales }, "nf4", weight.length))).toEqual(bits(f32(golden, "dequant")));
  });

  test("double quantization", () => {
    const { elements, scales } = quantizeFourBit(weight, { ...options, doubleQuant: true }, name);
    expect(elements).toEqual(u8(golden, "packed"));
    expect(scales.scales).toEqual(u8(golden, "nested_absmax_q"));
    expect(bits(scales.group!.scales)).toEqual(bits(f32(golden, "nested_absmax")));
    expect(bits(Float32Array.of(scales.group!.offset))).toEqual(bits(f32(golden, "nested_offset")));
    expect(bits(blockScales(scales))).toEqual(bits(f32(golden, "absmax_from_nested")));
    expect(bits(dequantizeFourBit({ elements, scales }, "nf4", weight.length))).toEqual(
      bits(f32(golden, "dequant_double")),
    );
  });
});

describe.each([
  ["nf4", 32],
  ["nf4", 4096],
  ["fp4", 64],
  ["fp4", 128],
] as const)("%s in blocks of %i", (type, blockSize) => {
  test("every code is a nearest one", () => {
    const values = Float32Array.from(seededNormals(5000, 3));
    const { elements, scales } = quantizeFourBit(values, { type, blockSize, doubleQuant: false }, "w");
    const table =
      type === "fp4"
        ? [0, 1 / 192, 2 / 3, 1, 1 / 3, 1 / 2, 1 / 6, 1 / 4].flatMap((v) => [v, -v])
        : f32(read("tables.safetensors"), "nf4_code");
    const decoded = dequantizeFourBit({ elements, scales }, type, values.length);
    values.forEach((value, i) => {
      const scale = (scales.scales as Float32Array)[Math.floor(i / blockSize)]!;
      const best = Math.min(...Array.from(table, (v) => Math.abs(v * scale - value)));
      expect(Math.abs(decoded[i]! - value)).toBeLessThanOrEqual(best + 1e-6 * scale);
    });
  });
});

test("an empty vector, one element and zeros", () => {
  const of = (values: number[]): ReturnType<typeof quantizeFourBit> =>
    quantizeFourBit(Float32Array.from(values), { type: "nf4", blockSize: 64, doubleQuant: true }, "w");
  expect(of([]).elements).toHaveLength(0);
  const one = of([-3]);
  expect([...dequantizeFourBit(one, "nf4", 1)]).toEqual([-3]);
  expect([...dequantizeFourBit(of(Array<number>(64).fill(0)), "nf4", 64)]).toEqual(Array(64).fill(0));
});

test.each([NaN, Infinity, -Infinity])("%s has no code", (bad) => {
  const values = new Float32Array(200);
  values[130] = bad;
  expect(() => quantizeFourBit(values, { type: "nf4", blockSize: 64, doubleQuant: true }, "layer 3")).toThrow(
    /layer 3: a value near element 1(28|30) is not finite/,
  );
});

test.each([16, 48, 8192, 0, 64.5])("blocks of %s are refused", (blockSize) => {
  expect(() => quantizeFourBit(new Float32Array(64), { type: "nf4", blockSize, doubleQuant: false }, "w")).toThrow(
    /block size is/,
  );
});
