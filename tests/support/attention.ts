// Cases of attention against the float64 reference, for its quick and its long tests.
import { attention, gradients, trainable } from "@tunesmith/autograd";
import { attention as reference, dot, finiteDifference, maxAbsError, seededNormals } from "@tunesmith/testing";
import type { Device, Tensor } from "@tunesmith/tensor";
import { describe, expect, test } from "vitest";
import { f32, i32, values } from "./device.ts";

export interface Case {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** lengths of segments in order; negative: that many tokens of padding */
  readonly lengths: readonly number[];
  readonly window?: number;
  readonly softCap?: number;
}

/** The three ways to say which tokens belong together. */
export function layout(lengths: readonly number[]): { ids: number[]; start: number[]; end: number[] } {
  const [ids, start, end]: number[][] = [[], [], []];
  for (const [id, length] of lengths.entries()) {
    const first = ids!.length;
    for (let i = 0; i < Math.abs(length); i++) {
      ids!.push(length < 0 ? -1 : id);
      start!.push(length < 0 ? -1 : first);
      end!.push(length < 0 ? -1 : first + length);
    }
  }
  return { ids: ids!, start: start!, end: end! };
}

// not 1/sqrt(headDim): a kernel that ignores its scale must fail
export const scaleOf = (c: Case): number => 1.4 / Math.sqrt(c.headDim);

/** Numbers of one case; `poisoned` has NaN in all rows of padding. */
export function numbers(c: Case): { tokens: number; arrays: Float64Array[]; poisoned: Float64Array[] } {
  const { ids } = layout(c.lengths);
  const widths = [c.heads, c.kvHeads, c.kvHeads, c.heads].map((h) => h * c.headDim);
  const arrays = widths.map((width, n) => seededNormals(ids.length * width, n + 1));
  const poisoned = arrays.map((a, n) => a.map((x, at) => (ids[Math.floor(at / widths[n]!)] === -1 ? NaN : x)));
  return { tokens: ids.length, arrays, poisoned };
}

export function run(
  device: Device,
  c: Case,
  [q64, k64, v64]: readonly Float64Array[],
): { y: Tensor; leaves: Tensor[] } {
  const { start, end } = layout(c.lengths);
  const tokens = start.length;
  const q = trainable(f32(device, [tokens, c.heads * c.headDim], q64!));
  const k = trainable(f32(device, [tokens, c.kvHeads * c.headDim], k64!));
  const v = trainable(f32(device, [tokens, c.kvHeads * c.headDim], v64!));
  const segments = { start: i32(device, [tokens], start), end: i32(device, [tokens], end) };
  return { y: attention(q, k, v, { ...c, segments, scale: scaleOf(c) }), leaves: [q, k, v] };
}

/** Entries of the gradient by finite differences of the float64 reference: all of a small case, a sample of others. */
function expectedGradient(
  c: Case,
  arrays: readonly Float64Array[],
  which: number,
  at: readonly number[],
): Float64Array {
  const { ids } = layout(c.lengths);
  const moved = arrays.slice(0, 3);
  const loss = (x: Float64Array): number => {
    moved[which] = Float64Array.from(arrays[which]!);
    for (const [n, index] of at.entries()) moved[which]![index] = x[n]!;
    return dot(reference(moved[0]!, moved[1]!, moved[2]!, { ...c, segmentIds: ids, scale: scaleOf(c) }), arrays[3]!);
  };
  return finiteDifference(
    loss,
    at.map((index) => arrays[which]![index]!),
  );
}

/** Tests of value and gradients; `every`: all entries of the gradients, else a sample. */
export function testAttention(cases: readonly Case[], options: { device: () => Device; every: boolean }): void {
  describe.each(cases)("$heads/$kvHeads heads of $headDim, segments $lengths, window $window, cap $softCap", (c) => {
    const { ids } = layout(c.lengths);
    const { tokens, arrays, poisoned } = numbers(c);
    const padding = (got: Float64Array): Float64Array =>
      got.filter((_, at) => ids[Math.floor(at / (got.length / tokens))] === -1);

    test("forward equals the float64 reference; padding gives 0 whatever it holds", async () => {
      const got = await values(run(options.device(), c, poisoned).y);
      const [q, k, v] = arrays;
      expect(maxAbsError(got, reference(q!, k!, v!, { ...c, segmentIds: ids, scale: scaleOf(c) }))).toBeLessThan(3e-6);
      expect(padding(got).every((x) => x === 0)).toBe(true);
    });

    test("gradients equal finite differences of the reference; padding gets 0", async () => {
      const { y, leaves } = run(options.device(), c, poisoned);
      const dy = f32(options.device(), y.shape, poisoned[3]!);
      for (const [which, gradient] of gradients(y, dy, leaves).entries()) {
        const got = await values(gradient!);
        const step = options.every ? 1 : Math.ceil(got.length / 12);
        const at = Array.from({ length: Math.ceil(got.length / step) }, (_, n) =>
          Math.min(got.length - 1, n * step + (n % step)),
        );
        const picked = at.map((index) => got[index]!);
        expect(maxAbsError(picked, expectedGradient(c, arrays, which, at))).toBeLessThan(2e-5);
        expect(got.every((x) => Number.isFinite(x))).toBe(true);
        expect(padding(got).every((x) => x === 0)).toBe(true);
      }
    });
  });
}
