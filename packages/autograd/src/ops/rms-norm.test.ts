import { beforeAll, describe, expect, test } from "vitest";
import type { Device, Tensor } from "@tunesmith/tensor";
import { f32, testDevice, values } from "../../../../tests/support/device.ts";
import { gradients, trainable } from "../tape.ts";
import { rmsNorm } from "./rms-norm.ts";

const eps = 0.1; // large on purpose: with 1e-5 a kernel that forgets eps still passes

/** The paper's equation in float64, sharing no code with the kernel. */
function reference(x: Float64Array, w: Float64Array): Float64Array {
  const dim = w.length;
  return x.map((xi, i) => {
    const row = x.subarray(i - (i % dim), i - (i % dim) + dim);
    const meanSquare = row.reduce((sum, v) => sum + v * v, 0) / dim;
    return (xi / Math.sqrt(meanSquare + eps)) * w[i % dim]!;
  });
}

const wave = (n: number, seed: number): Float64Array =>
  Float64Array.from({ length: n }, (_, i) => Math.fround(Math.sin(seed * 7 + i * 1.7) + 0.3 * Math.cos(i * seed)));
const maxError = (a: Float64Array, b: Float64Array): number =>
  a.reduce((m, v, i) => Math.max(m, Number.isNaN(v) ? Infinity : Math.abs(v - b[i]!)), 0);
function differences(f: (v: Float64Array) => number, at: Float64Array): Float64Array {
  return at.map((v, i) => {
    const h = 1e-5;
    const moved = Float64Array.from(at);
    moved[i] = v + h;
    const up = f(moved);
    moved[i] = v - h;
    return (up - f(moved)) / (2 * h);
  });
}

// the second device pretends to know nothing about its subgroups: shared-memory sums, parameters by uniform buffer
describe.each([
  ["subgroup", undefined],
  ["portable", { subgroups: false, immediates: false }],
])("%s", (_, facts) => {
  // 1: a lone element; 63, 64, 65: around the workgroup size; 200: several passes per lane
  describe.each([
    [1, 1],
    [3, 63],
    [2, 64],
    [5, 65],
    [4, 200],
  ])("rmsNorm [%i, %i]", (rows, dim) => {
    const [x64, w64, dy64] = [wave(rows * dim, 1), wave(dim, 2), wave(rows * dim, 3)];
    let device: Device;
    let x: Tensor;
    let w: Tensor;
    let y: Tensor;
    beforeAll(async () => {
      device = await testDevice(facts);
      x = trainable(f32(device, [rows, dim], x64));
      w = trainable(f32(device, [dim], w64));
      y = rmsNorm(x, w, { eps });
    });

    test("forward equals the float64 reference", async () => {
      expect(maxError(await values(y), reference(x64, w64))).toBeLessThan(1e-5);
    });

    test("gradients equal finite differences of the reference", async () => {
      const [dx, dw] = gradients(y, f32(device, [rows, dim], dy64), [x, w]);
      const weighted = (out: Float64Array): number => out.reduce((sum, v, i) => sum + v * dy64[i]!, 0);
      expect(
        maxError(
          await values(dx!),
          differences((v) => weighted(reference(v, w64)), x64),
        ),
      ).toBeLessThan(1e-4);
      expect(
        maxError(
          await values(dw!),
          differences((v) => weighted(reference(x64, v)), w64),
        ),
      ).toBeLessThan(1e-4);
    });
  });
});
