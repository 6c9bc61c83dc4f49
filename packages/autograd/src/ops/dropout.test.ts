import { philox4x32, siteId } from "@tunesmith/core";
import { describe, expect, test } from "vitest";
import { upload } from "@tunesmith/tensor";
import type { Device, Tensor } from "@tunesmith/tensor";
import { seededIntegers, seededNormals } from "@tunesmith/testing";
import { f32, i32, testDevice } from "../../../../tests/support/device.ts";
import { bothModes, given, givenInts } from "../../../../tests/support/modes.ts";
import type { Given } from "../../../../tests/support/modes.ts";
import { gradients, trainable } from "../tape.ts";
import { dropout } from "./dropout.ts";

const words = (data: readonly number[]): Given => ({
  shape: [data.length],
  dtype: "u32",
  data: Uint32Array.from(data),
});
const site = siteId("model.layers.3.self_attn.q_proj", "lora_dropout");
const seed = [0xdeadbeef, 0x12345] as const;
const step = 0xfffffff0;
const p = 0.3;

/** What is kept, from the host's Philox. */
function kept(dim: number, examples: ArrayLike<number>, positions: ArrayLike<number>): boolean[] {
  const fours = Math.ceil(dim / 4);
  return Array.from({ length: examples.length * dim }, (_, i) => {
    const row = Math.floor(i / dim);
    const feature = i % dim;
    const index = (positions[row]! * fours + Math.floor(feature / 4)) >>> 0;
    return philox4x32([index, examples[row]!, site, step], seed)[feature % 4]! >= Math.floor(p * 2 ** 32);
  });
}

// 3: less than one counter's words; 65: the last counter is used for one of four words
const sizes: [rows: number, dim: number][] = [
  [1, 1],
  [5, 3],
  [2, 64],
  [33, 65],
];
describe.each([
  { name: "default", facts: undefined, sizes },
  { name: "portable", facts: { subgroups: false, immediates: false, software: false }, sizes: sizes.slice(3) },
])("$name", ({ facts, sizes }) => {
  test.each(sizes)("dropout [%i, %i]: the host's Philox decides, forward and backward", async (rows, dim) => {
    const [x, dy] = [seededNormals(rows * dim, 1), seededNormals(rows * dim, 2)];
    const examples = seededIntegers(rows, 3, 0, 1000);
    const positions = seededIntegers(rows, 4, 0, 2 ** 31 - 1); // the index wraps around 2^32
    const inputs = {
      x: given([rows, dim], x),
      dy: given([rows, dim], dy),
      examples: givenInts([rows], examples),
      positions: givenInts([rows], positions),
      seed: words(seed),
      step: words([step]),
    };
    const out = await bothModes(await testDevice(facts), inputs, (t) => {
      const key = { seed: t.seed as Tensor<"u32">, step: t.step as Tensor<"u32">, site };
      const y = dropout(trainable(t.x), p, { ...key, rows: t });
      return { y, plain: dropout(t.x, p, key), dx: gradients(y, t.dy, [t.x])[0]! };
    });
    const scale = Math.fround(1 / (1 - p));
    const expected = (values: Float64Array, mask: boolean[]): Float32Array =>
      Float32Array.from(values, (v, i) => (mask[i] ? Math.fround(scale * v) : 0));
    const mask = kept(dim, examples, positions);
    expect(out.y).toEqual(expected(x, mask));
    expect(out.dx).toEqual(expected(dy, mask));
    const rowNumbers = Array.from({ length: rows }, (_, row) => row);
    expect(out.plain).toEqual(expected(x, kept(dim, new Int32Array(rows), rowNumbers)));
  });
});

describe("dropout", () => {
  const key = (device: Device): { seed: Tensor<"u32">; step: Tensor<"u32">; site: number } => ({
    seed: upload(device, [2], "u32", Uint32Array.from(seed)),
    step: upload(device, [1], "u32", Uint32Array.of(7)),
    site,
  });

  test("keeps its mean, and infinities become 0 where they are dropped", async () => {
    const device = await testDevice();
    const y = await dropout(f32(device, [100, 100], Array(10_000).fill(1)), p, key(device)).read();
    const share = y.filter((v) => v === 0).length / y.length;
    expect(Math.abs(share - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / 10_000));
    const inf = await dropout(f32(device, [100, 1], Array(100).fill(Infinity)), p, key(device)).read();
    expect(new Set(inf)).toEqual(new Set([0, Infinity]));
  });

  test("the mask does not depend on how rows are packed", async () => {
    const device = await testDevice();
    const ones = (rows: number): Tensor => f32(device, [rows, 9], Array(rows * 9).fill(1));
    const rows = (examples: number[], positions: number[]) => ({
      examples: i32(device, [examples.length], examples),
      positions: i32(device, [positions.length], positions),
    });
    const k = key(device);
    const together = await dropout(ones(4), p, { ...k, rows: rows([0, 0, 5, 5], [0, 1, 0, 1]) }).read();
    const alone = await dropout(ones(3), p, { ...k, rows: rows([5, 5, 9], [0, 1, 0]) }).read();
    expect(alone.slice(0, 18)).toEqual(together.slice(18));
    expect(together.slice(0, 18)).not.toEqual(together.slice(18));
  });

  test("p = 0 is the identity; p = 1 and keys that do not fit are refused", async () => {
    const device = await testDevice();
    const x = f32(device, [2, 2], [1, 2, 3, 4]);
    const k = key(device);
    expect(dropout(x, 0, k)).toBe(x);
    expect(() => dropout(x, 1, k)).toThrow(/p is 1/);
    expect(() => dropout(x, p, { ...k, seed: k.step })).toThrow(/seed/);
    const examples = i32(device, [1], [0]);
    expect(() => dropout(x, p, { ...k, rows: { examples, positions: examples } })).toThrow(/examples/);
  });
});
