import { philox4x32, siteId } from "@tunesmith/core";
import type { Tensor } from "@tunesmith/tensor";
import { seededIntegers, seededNormals } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { f32, testDevice } from "../../../../tests/support/device.ts";
import { bothModes, given, givenInts } from "../../../../tests/support/modes.ts";
import { gradients, trainable } from "../tape.ts";
import { addNoise } from "./noise.ts";

const site = siteId("embedding", "neftune");
const seed = [0xdeadbeef, 0x12345] as const;
const step = 0xfffffff0;
const words = (data: readonly number[]) =>
  ({ shape: [data.length], dtype: "u32", data: Uint32Array.from(data) }) as const;

describe.each([
  ["default", undefined],
  ["portable", { subgroups: false, immediates: false, software: false }],
])("%s", (_, facts) => {
  test.each([
    [5, 3],
    [33, 65],
  ])("[%i, %i]: the host's Philox decides the noise; the gradient passes", async (rows, dim) => {
    const [x, dy] = [seededNormals(rows * dim, 1), seededNormals(rows * dim, 2)];
    const magnitudes = seededNormals(rows, 5).map((m, row) => (row === 2 ? 0 : Math.fround(Math.abs(m))));
    const examples = seededIntegers(rows, 3, 0, 1000);
    const positions = seededIntegers(rows, 4, 0, 2 ** 31 - 1); // the index wraps around 2^32
    const inputs = {
      x: given([rows, dim], x),
      dy: given([rows, dim], dy),
      magnitudes: given([rows], magnitudes),
      examples: givenInts([rows], examples),
      positions: givenInts([rows], positions),
      seed: words(seed),
      step: words([step]),
    };
    const out = await bothModes(await testDevice(facts), inputs, (t) => {
      const key = { seed: t.seed as Tensor<"u32">, step: t.step as Tensor<"u32">, site };
      const y = addNoise(trainable(t.x), t.magnitudes, { ...key, rows: t });
      return { y, plain: addNoise(t.x, t.magnitudes, key), dx: gradients(y, t.dy, [t.x])[0]! };
    });
    const noise = (at: ArrayLike<number>, of: ArrayLike<number>): Float32Array =>
      Float32Array.from(x, (v, i) => {
        const [row, feature] = [Math.floor(i / dim), i % dim];
        const index = (at[row]! * Math.ceil(dim / 4) + Math.floor(feature / 4)) >>> 0;
        const word = philox4x32([index, of[row]!, site, step], seed)[feature % 4]!;
        return Math.fround(v) + magnitudes[row]! * (Math.floor(word / 256) / 2 ** 23 - 1);
      });
    const off = (a: ArrayLike<number>, b: Float32Array): number => Math.max(...b.map((v, i) => Math.abs(v - a[i]!)));
    expect(off(out.y as Float32Array, noise(positions, examples))).toBeLessThan(1e-6);
    const rowNumbers = Array.from({ length: rows }, (_, row) => row);
    expect(off(out.plain as Float32Array, noise(rowNumbers, new Int32Array(rows)))).toBeLessThan(1e-6);
    expect(out.dx).toEqual(Float32Array.from(dy));
    const quiet = Array.from(out.y).slice(2 * dim, 3 * dim);
    expect(quiet).toEqual(Array.from(Float32Array.from(x).subarray(2 * dim, 3 * dim)));
  });
});

test("magnitudes that do not fit are refused", async () => {
  const device = await testDevice();
  const key = { seed: f32(device, [2], [0, 0]) as never, step: f32(device, [1], [0]) as never, site };
  expect(() => addNoise(f32(device, [2, 3], Array(6).fill(0)), f32(device, [3], [1, 1, 1]), key)).toThrow(/magnitudes/);
});
