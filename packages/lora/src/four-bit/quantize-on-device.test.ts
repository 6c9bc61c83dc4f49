import { seededNormals } from "@tunesmith/testing";
import type { DenseFormat, Device, TensorData } from "@tunesmith/tensor";
import { beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../../../../tests/support/device.ts";
import { f32ToBf16, f32ToF16, toF32 } from "@tunesmith/safetensors";
import type { RowSource } from "./codec.ts";
import { quantizeOnDevice } from "./quantize-on-device.ts";
import { dequantizeFourBit, quantizeFourBit } from "./quantize.ts";

/** A matrix in memory, and its values. */
function source(
  shape: readonly [number, number],
  format: DenseFormat,
  values: Float32Array,
): RowSource & { exact: Float32Array } {
  const stored = format === "f32" ? values : format === "f16" ? f32ToF16(values) : f32ToBf16(values);
  const exact = format === "f32" ? values : toF32(new Uint8Array(stored.buffer), format === "f16" ? "F16" : "BF16");
  return {
    name: "w",
    shape,
    format,
    exact,
    rows: (first, count) =>
      Promise.resolve(stored.slice(first * shape[1], (first + count) * shape[1]) as TensorData<DenseFormat>),
  };
}

// gpu: the path of every real GPU, on whatever device is there; host: that of software devices
describe.each([
  ["gpu", { software: false }],
  ["host", { software: true }],
  ["gpu, in shards", { software: false, maxBindingBytes: 16_384 }],
])("quantized while loading, %s", (_, facts) => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
  });

  test.each([
    ["bf16", [130, 128], "nf4", 64, true],
    ["f16", [64, 320], "fp4", 64, false],
    ["f32", [33, 96], "nf4", 32, true],
    ["f32", [9, 50], "nf4", 64, true], // a ragged last block
    ["bf16", [512, 64], "fp4", 4096, true],
  ] as const)(
    "%s %j in %s, blocks of %i, double %s: the words of the host's codes",
    async (format, shape, type, blockSize, doubleQuant) => {
      const values = Float32Array.from(seededNormals(shape[0] * shape[1], 11));
      values.fill(0, 0, blockSize); // a block of zeros
      values[blockSize] = 1e-30; // alone in its block with what follows it
      const from = source(shape, format, values);
      const options = { type, blockSize, doubleQuant };
      const weight = await quantizeOnDevice(device, from, options);
      const want = quantizeFourBit(from.exact, options, "w");
      expect(weight.shards.length > 1).toBe("maxBindingBytes" in facts && shape[0] * shape[1] > 30_000);
      for (const { tensor, firstRow, rows } of weight.shards) {
        const words = (await tensor.read()) as Uint32Array;
        const [at, scales] = [words[0]!, words[5]!];
        const first = firstRow * shape[1];
        const count = rows * shape[1];
        const bytes = new Uint8Array(words.buffer).subarray(4 * at, 4 * at + Math.ceil(count / 2));
        expect(bytes).toEqual(want.elements.subarray(first / 2, Math.ceil((first + count) / 2)));
        const [block, blocks] = [first / blockSize, Math.ceil(count / blockSize)];
        const stored = doubleQuant
          ? new Uint8Array(words.buffer).subarray(4 * scales, 4 * scales + blocks)
          : new Float32Array(words.buffer).subarray(scales, scales + blocks);
        expect(stored).toEqual(want.scales.scales.subarray(block, block + blocks));
        if (doubleQuant) expect(new Float32Array(words.buffer)[4]).toBe(want.scales.group!.offset);
        tensor.dispose();
      }
      expect(dequantizeFourBit(want, type, 1)[0]).toBeCloseTo(0, 6);
    },
  );

  test.each([NaN, Infinity])("%s is refused by name", async (bad) => {
    const values = new Float32Array(256).fill(1);
    values[70] = bad;
    await expect(
      quantizeOnDevice(device, source([4, 64], "f32", values), { type: "nf4", blockSize: 64, doubleQuant: true }),
    ).rejects.toThrow(/w: a value near element (64|70) is not finite/);
  });
});
