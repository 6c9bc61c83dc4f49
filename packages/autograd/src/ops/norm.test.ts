import { describe, expect, test } from "vitest";
import type { Tensor } from "@tunesmith/tensor";
import { record, state } from "@tunesmith/tensor";
import { dot, finiteDifference, maxAbsError, relativeMaxError, seededNormals } from "@tunesmith/testing";
import * as reference from "@tunesmith/testing";
import { f32, testDevice, values } from "../../../../tests/support/device.ts";
import { bothModes, given } from "../../../../tests/support/modes.ts";
import { backward, gradients, trainable } from "../tape.ts";
import { add } from "./elementwise.ts";
import { addLayerNorm, addRmsNorm, layerNorm, rmsNorm } from "./norm.ts";

const eps = 0.1; // large on purpose: with 1e-5 a kernel that forgets eps still passes

interface Kind {
  readonly name: string;
  readonly center: boolean;
  readonly bias: boolean;
  readonly offset: number;
}
const kinds: readonly Kind[] = [
  { name: "RMSNorm", center: false, bias: false, offset: 0 },
  { name: "RMSNorm of 1 + weight", center: false, bias: false, offset: 1 },
  { name: "LayerNorm", center: true, bias: false, offset: 0 },
  { name: "LayerNorm with bias", center: true, bias: true, offset: 0 },
];

// 1: a lone element; 63, 64, 65: around the workgroup size; 200: several passes per lane; 130 and 260 rows: two and three
// slices of the sums over rows, and a last group that is not full
const sizes: [rows: number, dim: number][] = [
  [1, 1],
  [3, 63],
  [2, 64],
  [5, 65],
  [4, 200],
  [130, 7],
  [261, 4],
];
describe.each([
  { name: "default", facts: undefined, sizes },
  {
    name: "portable",
    facts: { subgroups: false, immediates: false, software: false },
    sizes: sizes.filter(([, dim]) => dim === 65 || dim === 4),
  },
])("$name", ({ facts, sizes }) => {
  describe.each(sizes)("[%i, %i]", (rows, dim) => {
    const x = seededNormals(rows * dim, 1).map((v) => Math.fround(v + 3)); // a mean to remove
    const y = seededNormals(rows * dim, 5);
    const [weight, bias] = [seededNormals(dim, 2), seededNormals(dim, 3)];
    const dy = seededNormals(rows * dim, 4);
    const inputs = {
      x: given([rows, dim], x),
      y: given([rows, dim], y),
      weight: given([dim], weight),
      bias: given([dim], bias),
      dy: given([rows, dim], dy),
    };
    const norm = (kind: Kind, at: ArrayLike<number>, w: ArrayLike<number>, b: ArrayLike<number>): Float64Array => {
      const gain = Float64Array.from(w, (v) => v + kind.offset);
      return kind.center
        ? reference.layerNorm(at, gain, kind.bias ? b : undefined, eps)
        : reference.rmsNorm(at, gain, eps);
    };
    const loss = (out: Float64Array): number => dot(out, dy);

    test.each(kinds)("$name: value and gradients", async (kind) => {
      const out = await bothModes(await testDevice(facts), inputs, (t) => {
        const wrt = [t.x, t.weight, ...(kind.bias ? [t.bias] : [])].map((v: Tensor) => trainable(v));
        const { offset } = kind;
        const normed = kind.center
          ? layerNorm(t.x, t.weight, { eps, bias: kind.bias ? t.bias : undefined })
          : rmsNorm(t.x, t.weight, { eps, offset });
        const [dx, dweight, dbias] = gradients(normed, t.dy, wrt);
        return { normed, dx: dx!, dweight: dweight!, dbias: dbias ?? normed };
      });
      expect(maxAbsError(out.normed, norm(kind, x, weight, bias))).toBeLessThan(1e-5);
      const expected = {
        dx: finiteDifference((v) => loss(norm(kind, v, weight, bias)), x),
        dweight: finiteDifference((v) => loss(norm(kind, x, v, bias)), weight),
        dbias: finiteDifference((v) => loss(norm(kind, x, weight, v)), bias),
      };
      expect(maxAbsError(out.dx, expected.dx)).toBeLessThan(1e-5);
      expect(relativeMaxError(out.dweight, expected.dweight, 1)).toBeLessThan(1e-5);
      if (kind.bias) expect(relativeMaxError(out.dbias, expected.dbias, 1)).toBeLessThan(1e-5);
    });

    test.each(kinds)("$name after a residual sum: both outputs, gradients through both, either alone", async (kind) => {
      const out = await bothModes(await testDevice(facts), inputs, (t) => {
        const wrt = [t.x, t.y, t.weight, ...(kind.bias ? [t.bias] : [])].map((v: Tensor) => trainable(v));
        const { offset } = kind;
        const { sum, normed } = kind.center
          ? addLayerNorm(t.x, t.y, t.weight, { eps, bias: kind.bias ? t.bias : undefined })
          : addRmsNorm(t.x, t.y, t.weight, { eps, offset });
        const [dx, dy, dweight, dbias] = gradients(add(sum, normed), t.dy, wrt);
        const [dxOfNorm] = gradients(normed, t.dy, wrt);
        const [dxOfSum, , noWeight] = gradients(sum, t.dy, wrt);
        expect(noWeight).toBeUndefined();
        return {
          sum,
          normed,
          dx: dx!,
          dy: dy!,
          dxOfNorm: dxOfNorm!,
          dxOfSum: dxOfSum!,
          dweight: dweight!,
          dbias: dbias ?? sum,
        };
      });
      const sum = x.map((v, i) => v + y[i]!);
      expect(maxAbsError(out.sum, sum)).toBeLessThan(1e-6);
      expect(maxAbsError(out.normed, norm(kind, sum, weight, bias))).toBeLessThan(1e-5);
      const alone = finiteDifference((v) => loss(norm(kind, v, weight, bias)), sum);
      const both = alone.map((v, i) => v + dy[i]!);
      expect(maxAbsError(out.dx, both)).toBeLessThan(1e-5);
      expect(maxAbsError(out.dy, both)).toBeLessThan(1e-5);
      expect(maxAbsError(out.dxOfNorm, alone)).toBeLessThan(1e-5);
      expect(maxAbsError(out.dxOfSum, dy)).toBe(0);
      const dweight = finiteDifference((v) => loss(norm(kind, sum, v, bias)), weight);
      expect(relativeMaxError(out.dweight, dweight, 1)).toBeLessThan(1e-5);
      const dbias = finiteDifference((v) => loss(norm(kind, sum, weight, v)), bias);
      if (kind.bias) expect(relativeMaxError(out.dbias, dbias, 1)).toBeLessThan(1e-5);
    });
  });
});

test("groups are normalized on their own with one gain", async () => {
  const device = await testDevice();
  const [rows, groups, dim] = [3, 5, 6];
  const [x, weight, dy] = [seededNormals(rows * groups * dim, 1), seededNormals(dim, 2), seededNormals(90, 3)];
  const t = { x: trainable(f32(device, [rows, groups * dim], x)), weight: trainable(f32(device, [dim], weight)) };
  const y = rmsNorm(t.x, t.weight, { eps, groups });
  expect(y.shape).toEqual([rows, groups * dim]);
  expect(maxAbsError(await values(y), reference.rmsNorm(x, weight, eps))).toBeLessThan(1e-5);
  const [dx, dweight] = gradients(y, f32(device, [rows, groups * dim], dy), [t.x, t.weight]);
  const loss = (at: ArrayLike<number>, w: ArrayLike<number>): number => dot(reference.rmsNorm(at, w, eps), dy);
  expect(
    maxAbsError(
      await values(dx!),
      finiteDifference((v) => loss(v, weight), x),
    ),
  ).toBeLessThan(1e-5);
  expect(
    maxAbsError(
      await values(dweight!),
      finiteDifference((v) => loss(x, v), weight),
    ),
  ).toBeLessThan(1e-4);
});

test("sinks get the gradients of weight and bias on top of what they hold, without a launch to add them", async () => {
  const device = await testDevice();
  const [rows, dim] = [3, 8];
  const [x, dy] = [seededNormals(rows * dim, 1), seededNormals(rows * dim, 2)];
  const held = Float64Array.from({ length: dim }, (_, i) => i);
  const zero = new Float64Array(dim);
  const t = { x: f32(device, [rows, dim], x), dy: f32(device, [rows, dim], dy) };
  const sink = { weight: f32(device, [dim], held), bias: f32(device, [dim], held) };
  const weight = trainable(f32(device, [dim], zero), sink.weight);
  const bias = trainable(f32(device, [dim], zero), sink.bias);
  backward(layerNorm(t.x, weight, { eps, bias }), t.dy);
  const loss = (w: ArrayLike<number>, b: ArrayLike<number>): number => dot(reference.layerNorm(x, w, b, eps), dy);
  const dweight = finiteDifference((v) => loss(v, zero), zero);
  const dbias = finiteDifference((v) => loss(zero, v), zero);
  expect(
    maxAbsError(
      await values(sink.weight),
      dweight.map((v, i) => v + held[i]!),
    ),
  ).toBeLessThan(1e-5);
  expect(
    maxAbsError(
      await values(sink.bias),
      dbias.map((v, i) => v + held[i]!),
    ),
  ).toBeLessThan(1e-5);

  const like = (label: string, shape: number[]): Tensor =>
    state(device, { shape, dtype: "f32", category: "state", label });
  const gain = trainable(like("gain", [dim]), like("sink", [dim]));
  const [at, upstream] = [like("x", [rows, dim]), like("dy", [rows, dim])];
  const program = record(device, "norm", () => {
    backward(rmsNorm(at, gain, { eps }), upstream);
    return {};
  });
  expect(program.plan.launches.map((l) => l.variant.kernel.label)).toEqual([
    "norm_forward",
    "norm_weight_slices",
    "matmul_add_slices",
  ]);
});

test("a large mean does not cancel the variance away", async () => {
  const device = await testDevice();
  const x = [10000, 10001, 10002, 10003];
  const y = layerNorm(f32(device, [1, 4], x), f32(device, [4], [1, 1, 1, 1]), { eps: 1e-5 });
  expect(maxAbsError(await values(y), reference.layerNorm(x, [1, 1, 1, 1], undefined, 1e-5))).toBeLessThan(1e-5);
});

test("weight, bias and the residual must fit", async () => {
  const device = await testDevice();
  const [x, two, three] = [f32(device, [2, 2], [1, 2, 3, 4]), f32(device, [2], [1, 1]), f32(device, [3], [1, 1, 1])];
  expect(() => layerNorm(x, three, { eps })).toThrow(/layerNorm: weight/);
  expect(() => layerNorm(x, two, { eps, bias: three })).toThrow(/layerNorm: bias/);
  expect(() => rmsNorm(x, two, { eps, groups: 2 })).toThrow(/rmsNorm: weight .* each of 2 parts/);
  expect(() => addRmsNorm(x, two, two, { eps })).toThrow(/addRmsNorm: y/);
});
