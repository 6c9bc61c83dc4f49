import { describe, expect, test } from "vitest";
import type { Tensor } from "@tunesmith/tensor";
import { dot, finiteDifference, maxAbsError, relativeMaxError, seededNormals } from "@tunesmith/testing";
import * as reference from "@tunesmith/testing";
import { f32, testDevice, values } from "../../../../tests/support/device.ts";
import { bothModes, given } from "../../../../tests/support/modes.ts";
import { gradients, trainable } from "../tape.ts";
import { layerNorm } from "./layer-norm.ts";

const eps = 0.1; // large on purpose: with 1e-5 a kernel that forgets eps still passes

// 1: a lone element; 63, 64, 65: around the workgroup size; 130 rows: more than one slice of the sums over rows
const sizes: [rows: number, dim: number][] = [
  [1, 1],
  [3, 63],
  [2, 64],
  [5, 65],
  [130, 7],
];
describe.each([
  { name: "default", facts: undefined, sizes },
  { name: "portable", facts: { subgroups: false, immediates: false, software: false }, sizes: sizes.slice(3, 4) },
])("$name", ({ facts, sizes }) => {
  describe.each(sizes)("layerNorm [%i, %i]", (rows, dim) => {
    const x = seededNormals(rows * dim, 1).map((v) => Math.fround(v + 3)); // a mean to remove
    const [weight, bias] = [seededNormals(dim, 2), seededNormals(dim, 3)];
    const dy = seededNormals(rows * dim, 4);
    const inputs = {
      x: given([rows, dim], x),
      weight: given([dim], weight),
      bias: given([dim], bias),
      dy: given([rows, dim], dy),
    };
    test.each([true, false])("bias %s: value and gradients", async (withBias) => {
      const out = await bothModes(await testDevice(facts), inputs, (t) => {
        const wrt = [t.x, t.weight, ...(withBias ? [t.bias] : [])].map((v: Tensor) => trainable(v));
        const y = layerNorm(t.x, t.weight, { eps, bias: withBias ? t.bias : undefined });
        const [dx, dweight, dbias] = gradients(y, t.dy, wrt);
        return { y, dx: dx!, dweight: dweight!, dbias: dbias ?? y };
      });
      const norm = (
        at: ArrayLike<number>,
        w: ArrayLike<number> = weight,
        b: ArrayLike<number> | undefined = withBias ? bias : undefined,
      ): Float64Array => reference.layerNorm(at, w, b, eps);
      const loss = (y: Float64Array): number => dot(y, dy);
      expect(maxAbsError(out.y, norm(x))).toBeLessThan(1e-5);
      const expected = {
        dx: finiteDifference((v) => loss(norm(v)), x),
        dweight: finiteDifference((v) => loss(norm(x, v)), weight),
        dbias: finiteDifference((v) => loss(norm(x, weight, v)), bias),
      };
      expect(maxAbsError(out.dx, expected.dx)).toBeLessThan(1e-5);
      expect(relativeMaxError(out.dweight, expected.dweight, 1)).toBeLessThan(1e-5);
      if (withBias) expect(relativeMaxError(out.dbias, expected.dbias, 1)).toBeLessThan(1e-5);
    });
  });
});

test("a large mean does not cancel the variance away", async () => {
  const device = await testDevice();
  const x = [10000, 10001, 10002, 10003];
  const y = layerNorm(f32(device, [1, 4], x), f32(device, [4], [1, 1, 1, 1]), { eps: 1e-5 });
  expect(maxAbsError(await values(y), reference.layerNorm(x, [1, 1, 1, 1], undefined, 1e-5))).toBeLessThan(1e-5);
});

test("weight and bias must fit", async () => {
  const device = await testDevice();
  const [x, two, three] = [f32(device, [2, 2], [1, 2, 3, 4]), f32(device, [2], [1, 1]), f32(device, [3], [1, 1, 1])];
  expect(() => layerNorm(x, three, { eps })).toThrow(/weight/);
  expect(() => layerNorm(x, two, { eps, bias: three })).toThrow(/bias/);
});
