import {
  dot,
  finiteDifference,
  maxAbsError,
  rope as reference,
  seededIntegers,
  seededNormals,
} from "@tunesmith/testing";
import type { Device, Tensor } from "@tunesmith/tensor";
import { beforeAll, describe, expect, test } from "vitest";
import { f32, i32, testDevice, values } from "../../../../tests/support/device.ts";
import { gradients, trainable } from "../tape.ts";
import { rope, ropeTables } from "./rope.ts";

const frequencies = (half: number): Float64Array =>
  Float64Array.from({ length: half }, (_, i) => 10_000 ** (-i / half));

// 1 pair; odd numbers of pairs (one element at a time); 8, 64: four at a time; 65 tokens: more than a workgroup
describe.each([
  [1, 1, 2, 2],
  [3, 2, 6, 6],
  [65, 3, 8, 8],
  [5, 2, 64, 64],
  // part of each head passes: less and more than what turns, one and four elements at a time
  [3, 2, 7, 4],
  [9, 3, 10, 2],
  [20, 2, 48, 32],
  [20, 2, 32, 8],
])("rope [%i tokens, %i heads of %i, %i of them turned]", (tokens, heads, headDim, turned) => {
  const half = turned / 2;
  const longest = 50;
  const x64 = seededNormals(tokens * heads * headDim, 1);
  /** the reference knows heads that turn as a whole */
  const expected = (v: ArrayLike<number>): Float64Array => {
    const all = Array.from(v);
    const turning = (i: number): boolean => i % headDim < turned;
    const of = reference(
      all.filter((_, i) => turning(i)),
      positions,
      frequencies(half),
      heads,
    ).values();
    return Float64Array.from(all, (passed, i) => (turning(i) ? of.next().value! : passed));
  };
  const dy64 = seededNormals(x64.length, 2);
  const positions = seededIntegers(tokens, 3, 0, longest);
  let device: Device;
  let x: Tensor;
  let y: Tensor;
  beforeAll(async () => {
    device = await testDevice();
    const { cosines, sines } = ropeTables(frequencies(half), longest);
    x = trainable(f32(device, [tokens, heads * headDim], x64));
    y = rope(x, {
      positions: i32(device, [tokens], positions),
      cosines: f32(device, [longest, half], cosines),
      sines: f32(device, [longest, half], sines),
      heads,
      headDim,
    });
  });

  test("forward equals the float64 reference", async () => {
    expect(maxAbsError(await values(y), expected(x64))).toBeLessThan(1e-6);
  });

  test("gradient equals finite differences of the reference", async () => {
    const [dx] = gradients(y, f32(device, y.shape, dy64), [x]);
    const loss = (v: Float64Array): number => dot(expected(v), dy64);
    expect(maxAbsError(await values(dx!), finiteDifference(loss, x64))).toBeLessThan(1e-6);
  });
});

test("far positions are as exact as near ones, and the scaling factor multiplies both ways", async () => {
  const device = await testDevice();
  const [rows, half] = [131_072, 4];
  const { cosines, sines } = ropeTables(frequencies(half), rows, 1.5);
  const x64 = seededNormals(2 * half, 1);
  const x = trainable(f32(device, [1, 2 * half], x64));
  const y = rope(x, {
    positions: i32(device, [1], [rows - 1]),
    cosines: f32(device, [rows, half], cosines),
    sines: f32(device, [rows, half], sines),
    heads: 1,
    headDim: 2 * half,
  });
  const expected = reference(x64, [rows - 1], frequencies(half), 1).map((v) => 1.5 * v);
  expect(maxAbsError(await values(y), expected)).toBeLessThan(1e-6);
  // turning there and back leaves the square of the factor
  const [dx] = gradients(y, f32(device, y.shape, await values(y)), [x]);
  expect(
    maxAbsError(
      await values(dx!),
      x64.map((v) => 1.5 ** 2 * v),
    ),
  ).toBeLessThan(2e-6);
});

test("shapes that do not fit are refused by name", async () => {
  const device = await testDevice();
  const x = f32(device, [2, 12], new Float64Array(24));
  const table = f32(device, [4, 3], new Float64Array(12));
  const options = { positions: i32(device, [2], [0, 1]), cosines: table, sines: table, heads: 2, headDim: 6 };
  expect(() => rope(x, { ...options, heads: 3 })).toThrow(/rope: x has shape \[2, 12\], expected \[2, 18\]/);
  expect(() => rope(x, { ...options, heads: 3, headDim: 4 })).toThrow(/rope: cosines has/);
  expect(() => rope(x, { ...options, cosines: f32(device, [12], new Float64Array(12)) })).toThrow(/rope: cosines has/);
  expect(() => rope(x, { ...options, sines: x })).toThrow(/rope: sines has/);
});
