import { describe, expect, test } from "vitest";
import { state, upload } from "@tunesmith/tensor";
import type { Device, Tensor, Weight, DenseFormat } from "@tunesmith/tensor";
import { maxAbsError, seededIntegers, seededNormals } from "@tunesmith/testing";
import * as reference from "@tunesmith/testing";
import { f32, i32, testDevice, values } from "../../../../tests/support/device.ts";
import { bothModes, given, givenInts } from "../../../../tests/support/modes.ts";
import { backward, gradients, trainable } from "../tape.ts";
import { embedding } from "./embedding.ts";

/** float32 whose lower bits are zero, so that 16-bit formats hold it exactly, with its bits in each format */
function exact(n: number): { numbers: Float64Array; bf16: Uint16Array; f16: Uint16Array } {
  const numbers = Float64Array.from(seededIntegers(n, 5, -128, 128), (v) => v / 8);
  const words = new Uint32Array(Float32Array.from(numbers).buffer);
  // ±k/8 with k < 128 is a normal number in both formats
  const f16 = Uint16Array.from(words, (w) =>
    (w & 0x7fffffff) === 0
      ? w >>> 16
      : ((w >>> 16) & 0x8000) | ((((w >>> 23) & 0xff) - 112) << 10) | ((w >>> 13) & 0x3ff),
  );
  return { numbers, bf16: Uint16Array.from(words, (w) => w >>> 16), f16 };
}

function sharded(
  device: Device,
  shape: [number, number],
  format: DenseFormat,
  data: Float32Array | Uint16Array,
  cuts: readonly number[],
): Weight {
  const bounds = [0, ...cuts, shape[0]];
  const shards = bounds.slice(1).map((end, i) => {
    const firstRow = bounds[i]!;
    const part = data.slice(firstRow * shape[1], end * shape[1]);
    const tensor: Tensor = upload(device, [end - firstRow, shape[1]], format, part as never);
    return { tensor, firstRow, rows: end - firstRow };
  });
  return { shape, format, shards };
}

const portable = { subgroups: false, immediates: false, software: false };
const sizes: [tokens: number, vocab: number, dim: number][] = [
  [1, 1, 1],
  [7, 5, 64],
  [70, 40, 63], // rows of 16-bit elements start in the middle of a word
  [65, 40, 131],
];
describe.each([
  { name: "default", facts: undefined, sizes },
  { name: "portable", facts: portable, sizes: sizes.slice(2, 3) },
])("$name", ({ facts, sizes }) => {
  test.each(sizes)("look-up of %i tokens in [%i, %i], every format", async (tokens, vocab, dim) => {
    const device = await testDevice(facts);
    const ids = seededIntegers(tokens, 7, 0, vocab);
    const { numbers, bf16, f16 } = exact(vocab * dim);
    const expected = reference.embedding(numbers, ids, dim);
    const idTensor = i32(device, [tokens], ids);
    for (const [format, data] of [
      ["f32", Float32Array.from(numbers)],
      ["bf16", bf16],
      ["f16", f16],
    ] as const) {
      const cuts = vocab > 3 ? [1, 3] : [];
      const one = embedding(sharded(device, [vocab, dim], format, data, []), idTensor);
      const three = embedding(sharded(device, [vocab, dim], format, data, cuts), idTensor);
      expect(await values(one)).toEqual(expected);
      expect(await values(three)).toEqual(expected);
    }
  });

  test.each(sizes)("gradient of %i tokens in [%i, %i]", async (tokens, vocab, dim) => {
    const ids = seededIntegers(tokens, 7, 0, vocab);
    const [table, dy] = [seededNormals(vocab * dim, 1), seededNormals(tokens * dim, 2)];
    const out = await bothModes(
      await testDevice(facts),
      {
        table: given([vocab, dim], table),
        ids: givenInts([tokens], ids),
        dy: given([tokens, dim], dy),
      },
      (t) => {
        const y = embedding(trainable(t.table) as Tensor<"f32">, t.ids as Tensor<"i32">);
        return { dtable: gradients(y, t.dy, [t.table])[0]! };
      },
    );
    const expected = new Float64Array(vocab * dim);
    for (let i = 0; i < dy.length; i++) expected[ids[Math.floor(i / dim)]! * dim + (i % dim)]! += dy[i]!;
    expect(maxAbsError(out.dtable, expected)).toBeLessThan(1e-5);
  });
});

test("ids outside the table give zeros and leave no gradient; a sink is added to", async () => {
  const device = await testDevice();
  const ids = i32(device, [6], [-1, 3, 4, -(2 ** 31), 2 ** 31 - 1, 3]);
  const sinks = [
    [3, 2],
    [1, 2],
  ].map((shape, i) =>
    state(device, {
      shape,
      dtype: "f32",
      category: "gradients",
      label: `sink ${i}`,
      data: new Float32Array(shape[0]! * 2).fill(10),
    }),
  );
  const weight = sharded(device, [4, 2], "f32", Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), [3]);
  for (const [i, shard] of weight.shards.entries()) trainable(shard.tensor, sinks[i]);
  const y = embedding(weight, ids);
  expect(await values(y)).toEqual(Float64Array.of(0, 0, 7, 8, 0, 0, 0, 0, 0, 0, 7, 8));
  backward(y, f32(device, [6, 2], [1, 1, 2, 3, 1, 1, 1, 1, 1, 1, 4, 5]));
  expect(await values(sinks[0]!)).toEqual(new Float64Array(6).fill(10));
  expect(await values(sinks[1]!)).toEqual(Float64Array.of(16, 18));
  for (const sink of sinks) sink.dispose();
});

test("a frozen table is not scattered to, and ids must be a vector", async () => {
  const device = await testDevice();
  const table = f32(device, [2, 1], [1, 2]);
  expect(gradients(embedding(table, i32(device, [1], [0])), f32(device, [1, 1], [1]), [table])).toEqual([undefined]);
  expect(() => embedding(table, i32(device, [1, 1], [0]))).toThrow(/no batch dimension/);
});
