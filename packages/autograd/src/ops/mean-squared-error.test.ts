import { describe, expect, test } from "vitest";
import { finiteDifference, maxAbsError, mse, relativeMaxError, seededNormals } from "@tunesmith/testing";
import { f32, testDevice } from "../../../../tests/support/device.ts";
import { bothModes, given } from "../../../../tests/support/modes.ts";
import { gradients, trainable } from "../tape.ts";
import { meanSquaredError } from "./mean-squared-error.ts";

// the sums run over blocks of 16,384 elements
describe.each([
  { name: "default", facts: undefined, sizes: [1, 63, 64, 65, 16_385] },
  { name: "portable", facts: { subgroups: false, immediates: false, software: false }, sizes: [65] },
])("$name", ({ facts, sizes }) => {
  test.each(sizes)("meanSquaredError [%i]: value and gradients", async (n) => {
    const [x, target] = [seededNormals(n, 1), seededNormals(n, 2)];
    const inputs = { x: given([n], x), target: given([n], target), dloss: given([1], [3]) };
    const out = await bothModes(await testDevice(facts), inputs, (t) => {
      const loss = meanSquaredError(trainable(t.x), trainable(t.target));
      const [dx, dtarget] = gradients(loss, t.dloss, [t.x, t.target]);
      return { loss, dx: dx!, dtarget: dtarget! };
    });
    expect(relativeMaxError(out.loss, [mse(x, target)])).toBeLessThan(1e-6);
    // where there are many elements, a sample of the differences
    const some = n > 100 ? [0, 7, n - 1] : [...x.keys()];
    const pick = (all: ArrayLike<number>): number[] => some.map((i) => all[i]!);
    const replaced = (values: ArrayLike<number>, chosen: Float64Array): Float64Array => {
      const all = Float64Array.from(values);
      for (const [j, i] of some.entries()) all[i] = chosen[j]!;
      return all;
    };
    const byX = finiteDifference((v) => 3 * mse(replaced(x, v), target), pick(x));
    const byTarget = finiteDifference((v) => 3 * mse(x, replaced(target, v)), pick(target));
    expect(maxAbsError(pick(out.dx), byX)).toBeLessThan(1e-6);
    expect(maxAbsError(pick(out.dtarget), byTarget)).toBeLessThan(1e-6);
    expect(
      relativeMaxError(
        out.dx,
        x.map((v, i) => (6 / n) * (v - target[i]!)),
      ),
    ).toBeLessThan(1e-6);
  });
});

test("meanSquaredError refuses two shapes, and nothing", async () => {
  const device = await testDevice();
  const two = f32(device, [2], [1, 2]);
  expect(() => meanSquaredError(two, f32(device, [1], [1]))).toThrow(/elementwise/);
  expect(() => meanSquaredError(f32(device, [0], []), f32(device, [0], []))).toThrow(/mean of nothing/);
});
