// The references against values worked out by hand (exact fractions, known constants) and against each other.
import { describe, expect, test } from "vitest";
import {
  adamwStep,
  attention,
  clipGradNorm,
  crossEntropy,
  dot,
  embedding,
  finiteDifference,
  geglu,
  gelu,
  geluTanh,
  layerNorm,
  matmul,
  maxAbsError,
  mse,
  relativeMaxError,
  rmsNorm,
  rope,
  seededIntegers,
  seededNormals,
  silu,
  softmax,
  swiglu,
} from "./index.ts";

describe("comparisons", () => {
  test("the worst difference wins, wherever it is", () => {
    expect(maxAbsError([1, 2, 3], [1, 2, 3.5])).toBe(0.5);
    expect(maxAbsError([-1, 2, 3], [1, 2, 3])).toBe(2);
    expect(maxAbsError([], [])).toBe(0);
  });
  test("NaN and infinity never pass as small", () => {
    expect(maxAbsError([NaN, 1], [0, 1])).toBeNaN();
    expect(maxAbsError([0, 1], [0, NaN])).toBeNaN();
    expect(maxAbsError([Infinity], [Infinity])).toBeNaN();
    expect(relativeMaxError([NaN], [1])).toBeNaN();
  });
  test("a relative error is measured against the largest expected entry", () => {
    expect(relativeMaxError([8.5, 0], [8, 0])).toBe(0.0625);
    expect(relativeMaxError([0, 0.5], [0, 0])).toBe(0.5);
    expect(relativeMaxError([0.5], [0.25], 2)).toBe(0.125);
  });
  test("lengths must agree", () => {
    expect(() => maxAbsError([1], [1, 2])).toThrow(RangeError);
    expect(() => dot([1], [1, 2])).toThrow(RangeError);
  });
});

describe("seeded numbers", () => {
  test("same seed, same numbers; another seed, others; all of them float32", () => {
    const a = seededNormals(1000, 7);
    expect(seededNormals(1000, 7)).toEqual(a);
    expect(maxAbsError(seededNormals(1000, 8), a)).toBeGreaterThan(1);
    expect(Float64Array.from(Float32Array.from(a))).toEqual(a);
  });
  test("mean 0, variance 1, kurtosis 3, neighbours uncorrelated", () => {
    const n = 200_000;
    const a = seededNormals(n, 3);
    const moment = (power: number): number => a.reduce((sum, v) => sum + v ** power, 0) / n;
    expect(Math.abs(moment(1))).toBeLessThan(0.01);
    expect(Math.abs(moment(2) - 1)).toBeLessThan(0.015);
    expect(Math.abs(moment(4) - 3)).toBeLessThan(0.1);
    expect(Math.abs(dot(a.subarray(1), a.subarray(0, -1))) / n).toBeLessThan(0.01);
  });
  test("integers fill their range evenly", () => {
    const counts = [0, 0, 0, 0, 0];
    for (const value of seededIntegers(50_000, 5, -2, 3)) counts[value + 2] = counts[value + 2]! + 1;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  });
});

describe("finite differences", () => {
  test("gradient of Σ x³ + x₀x₁", () => {
    const x = Float64Array.of(0.5, -1.25, 2);
    const gradient = finiteDifference((v) => v.reduce((sum, e) => sum + e ** 3, 0) + v[0]! * v[1]!, x);
    expect(maxAbsError(gradient, [0.75 - 1.25, 4.6875 + 0.5, 12])).toBeLessThan(1e-8);
    expect(x).toEqual(Float64Array.of(0.5, -1.25, 2));
  });
});

describe("matmul", () => {
  // a = [[1,2,3],[4,5,6]], b = [[7,8],[9,10],[11,12]]
  const product = Float64Array.of(58, 64, 139, 154);
  test("three layouts of one product", () => {
    const size = { m: 2, k: 3, n: 2 };
    expect(matmul([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12], size)).toEqual(product);
    expect(matmul([1, 2, 3, 4, 5, 6], [7, 9, 11, 8, 10, 12], size, "NT")).toEqual(product);
    expect(matmul([1, 4, 2, 5, 3, 6], [7, 8, 9, 10, 11, 12], size, "TN")).toEqual(product);
  });
  test("no inner dimension gives zeros; wrong sizes are refused", () => {
    expect(matmul([], [], { m: 2, k: 0, n: 1 })).toEqual(Float64Array.of(0, 0));
    expect(() => matmul([1, 2], [1, 2], { m: 2, k: 2, n: 1 })).toThrow(RangeError);
  });
});

describe("norms", () => {
  test("rmsNorm: mean square 12.5 + eps 12.5, two rows", () => {
    expect(maxAbsError(rmsNorm([3, 4, 0, 5], [1, 10], 12.5), [0.6, 8, 0, 10])).toBeLessThan(1e-15);
  });
  test("layerNorm: variance 1.25 + eps 1.25, gain, and bias only where given", () => {
    const r = 1 / Math.sqrt(2.5);
    const plain = [-1.5 * r, -0.5 * r, 0.5 * r, 15 * r];
    expect(maxAbsError(layerNorm([1, 2, 3, 4], [1, 1, 1, 10], undefined, 1.25), plain)).toBeLessThan(1e-15);
    const shifted = [-1.5 * r + 1, -0.5 * r, 0.5 * r, 15 * r - 2];
    expect(maxAbsError(layerNorm([1, 2, 3, 4], [1, 1, 1, 10], [1, 0, 0, -2], 1.25), shifted)).toBeLessThan(1e-15);
  });
});

describe("rope", () => {
  test("a quarter turn takes the first half to the second; position 0 changes nothing", () => {
    const x = [1, 2, 3, 4, 1, 2, 3, 4];
    const turned = rope(x, [0, 1], [Math.PI / 2, Math.PI], 1);
    expect(maxAbsError(turned, [1, 2, 3, 4, -3, -2, 1, -4])).toBeLessThan(1e-14);
  });
  test("scores depend on the distance only, for every head", () => {
    const q = seededNormals(8, 1);
    const k = seededNormals(8, 2);
    const score = (at: number, to: number): number => dot(rope(q, [at], [1, 0.3], 2), rope(k, [to], [1, 0.3], 2));
    expect(score(17, 12)).toBeCloseTo(score(5, 0), 12);
    expect(Math.abs(score(17, 12) - score(17, 11))).toBeGreaterThan(1e-3);
  });
});

describe("activations", () => {
  test("silu and swiglu", () => {
    expect(
      maxAbsError(silu([0, Math.log(3), -Math.log(3)]), [0, 0.75 * Math.log(3), -0.25 * Math.log(3)]),
    ).toBeLessThan(1e-15);
    expect(silu([-1000])[0]).toBeCloseTo(0, 12);
    expect(maxAbsError(swiglu([Math.log(3)], [4]), [3 * Math.log(3)])).toBeLessThan(1e-15);
  });
  test("geluTanh at points tabulated to ten digits", () => {
    const expected = [0, 0.8411919906, -0.1588080094, 1.9545976941, -0.0036373921];
    expect(maxAbsError(geluTanh([0, 1, -1, 2, -3]), expected)).toBeLessThan(6e-11);
  });
  test("gelu at points tabulated to ten digits; the two ways to Φ meet; geglu", () => {
    const expected = [0, 0.8413447461, -0.1586552539, 1.9544997361, -0.0040496941, -5.9195e-9];
    expect(maxAbsError(gelu([0, 1, -1, 2, -3, -6]), expected)).toBeLessThan(6e-11);
    const z = 2.5 * Math.SQRT2;
    expect(gelu([z - 1e-13])[0]).toBeCloseTo(gelu([z + 1e-13])[0]!, 11);
    expect(
      maxAbsError(
        geglu([1, -1], [2, 3]),
        geluTanh([1, -1]).map((v, i) => v * (2 + i)),
      ),
    ).toBe(0);
  });
  test("softmax by row, safe from overflow, −Infinity is 0", () => {
    const rows = softmax([0, Math.log(3), 1000, 1000, -Infinity, 5], 2);
    expect(maxAbsError(rows, [0.25, 0.75, 0.5, 0.5, 0, 1])).toBeLessThan(1e-15);
  });
});

describe("attention", () => {
  const one = { heads: 1, kvHeads: 1, headDim: 1 };
  test("a zero query averages the values it may see", () => {
    const out = attention([0, 0, 0, 0], [9, 9, 9, 9], [1, 3, 8, 2], { ...one, segmentIds: [0, 0, 0, 0] });
    expect(maxAbsError(out, [1, 2, 4, 3.5])).toBeLessThan(1e-14);
  });
  test("segments are fenced, also where one goes on after another; padding gives zero", () => {
    const out = attention([0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [1, 3, 8, 2, 5], { ...one, segmentIds: [4, 4, 2, -1, 4] });
    expect(maxAbsError(out, [1, 2, 8, 0, 3])).toBeLessThan(1e-14);
  });
  test("a window of 2 sees itself and the key before", () => {
    const out = attention([0, 0, 0], [1, 1, 1], [1, 3, 8], { ...one, segmentIds: [0, 0, 0], window: 2 });
    expect(maxAbsError(out, [1, 2, 5.5])).toBeLessThan(1e-14);
  });
  test("weights are the softmax of scale · q·k", () => {
    const options = { heads: 1, kvHeads: 1, headDim: 4, segmentIds: [0, 0] };
    const q = [0, 0, 0, 0, 2 * Math.log(3), 0, 0, 0];
    const k = [0, 0, 0, 0, 1, 0, 0, 0];
    const v = [4, 0, 0, 0, 0, 4, 0, 0];
    expect(maxAbsError(attention(q, k, v, options), [4, 0, 0, 0, 1, 3, 0, 0])).toBeLessThan(1e-14);
    const doubled = attention(q, k, v, { ...options, scale: 1 });
    expect(maxAbsError(doubled.subarray(4), [0.4, 3.6, 0, 0])).toBeLessThan(1e-14);
  });
  test("a cap bends scores before the softmax", () => {
    const options = { ...one, segmentIds: [0, 0], scale: 1 };
    // score 1000 under a cap of log(3): weights 3 : 1 against a score of 0
    const out = attention([0, 1000], [0, 1], [4, 0], { ...options, softCap: Math.log(3) });
    expect(maxAbsError(out, [4, 1])).toBeLessThan(1e-12);
  });
  test("four query heads on two key heads: pairs of neighbours share", () => {
    const out = attention([0, 0, 0, 0], [1, 1], [5, 7], { heads: 4, kvHeads: 2, headDim: 1, segmentIds: [0] });
    expect(out).toEqual(Float64Array.of(5, 5, 7, 7));
  });
});

describe("embedding", () => {
  test("picks rows; an id outside the table is refused", () => {
    expect(embedding([1, 2, 3, 4, 5, 6], [2, 0, 2], 2)).toEqual(Float64Array.of(5, 6, 1, 2, 5, 6));
    expect(() => embedding([1, 2], [1], 2)).toThrow(RangeError);
    expect(() => embedding([1, 2], [-1], 2)).toThrow(RangeError);
  });
});

describe("losses", () => {
  test("cross-entropy: equal logits cost log(vocab), −100 nothing, weights multiply", () => {
    const { loss, losses } = crossEntropy([7, 7, 7, 7, 0, Math.log(3), 0, 0], [3, -100], [2.5, 9]);
    expect(maxAbsError(losses, [Math.log(4), 0])).toBeLessThan(1e-15);
    expect(loss).toBeCloseTo(2.5 * Math.log(4), 14);
    expect(crossEntropy([0, Math.log(3), 1000, 0], [1, 0]).loss).toBeCloseTo(Math.log(4 / 3), 14);
  });
  test("its gradient is w · (softmax − one-hot)", () => {
    const logits = seededNormals(15, 11);
    const gradient = finiteDifference((v) => crossEntropy(v, [4, -100, 0], [0.5, 1, 2]).loss, logits);
    const expected = softmax(logits, 5).map((p, i) => {
      if (i < 5) return 0.5 * (p - (i === 4 ? 1 : 0));
      return i < 10 ? 0 : 2 * (p - (i === 10 ? 1 : 0));
    });
    expect(maxAbsError(gradient, expected)).toBeLessThan(1e-9);
  });
  test("a target outside the vocabulary is refused", () => {
    expect(() => crossEntropy([0, 0], [2])).toThrow(RangeError);
    expect(() => crossEntropy([0, 0], [-1])).toThrow(RangeError);
  });
  test("mse", () => {
    expect(mse([1, 2, 3], [1, 0, 6])).toBeCloseTo(13 / 3, 15);
  });
});

describe("update", () => {
  test("the first AdamW step moves by lr · sign(g) beside the decay", () => {
    const state = { param: Float64Array.of(2, 2), m: new Float64Array(2), v: new Float64Array(2) };
    adamwStep(state, [4, -0.5], { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 0, weightDecay: 0.5, step: 1 });
    expect(maxAbsError(state.param, [1.8, 2])).toBeLessThan(1e-14);
    expect(maxAbsError(state.m, [0.4, -0.05])).toBeLessThan(1e-15);
    expect(maxAbsError(state.v, [0.16, 0.0025])).toBeLessThan(1e-15);
  });
  test("clipping by the norm over all tensors", () => {
    const { norm, factor, clipped } = clipGradNorm([[3], [0, 4]], 1);
    expect(norm).toBe(5);
    expect(factor).toBeCloseTo(1 / 5.000001, 15);
    expect(maxAbsError(clipped[1]!, [0, 4 / 5.000001])).toBeLessThan(1e-15);
    expect(clipGradNorm([[3, 4]], 6)).toEqual({ norm: 5, factor: 1, clipped: [Float64Array.of(3, 4)] });
  });
});
