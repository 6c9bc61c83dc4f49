import { record, state } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { dot, finiteDifference, maxAbsError, seededNormals } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { f32, testDevice, values } from "../../../tests/support/device.ts";
import { bothModes, given } from "../../../tests/support/modes.ts";
import { add, scale } from "./ops/elementwise.ts";
import { linear } from "./ops/linear.ts";
import { backward, gradients, recompute, trainable } from "./tape.ts";

const [rows, dim] = [3, 5];
const n = rows * dim;
const [x, w, dy] = [seededNormals(n, 1), seededNormals(dim * dim, 2), seededNormals(n, 3)];
const inputs = { x: given([rows, dim], x), w: given([dim, dim], w), dy: given([rows, dim], dy) };
const plus = (a: Float64Array, b: Float64Array): Float64Array => a.map((v, i) => v + b[i]!);
const times = (a: Float64Array, f: number): Float64Array => a.map((v) => v * f);
const through = (a: Float64Array): Float64Array =>
  a.map((_, i) => {
    let sum = 0;
    for (let k = 0; k < dim; k++) sum += a[Math.floor(i / dim) * dim + k]! * w[(i % dim) * dim + k]!;
    return sum;
  });

// graphs in which a gradient is shared, added to several times, or both; each with its float64 counterpart
const graphs: readonly {
  name: string;
  on: (x: Tensor, w: Tensor) => Tensor;
  reference: (x: Float64Array) => Float64Array;
}[] = [
  {
    name: "residual: one gradient goes to both sides of a sum, one of which gets more",
    on: (x, w) => {
      const h = scale(x, 2);
      return add(h, linear(h, w));
    },
    reference: (x) => plus(times(x, 2), through(times(x, 2))),
  },
  {
    name: "the branch first, then the stream",
    on: (x, w) => {
      const h = scale(x, 2);
      return add(linear(h, w), h);
    },
    reference: (x) => plus(times(x, 2), through(times(x, 2))),
  },
  {
    name: "a tensor added to itself",
    on: (x) => {
      const h = scale(x, 2);
      return add(h, h);
    },
    reference: (x) => times(x, 4),
  },
  {
    name: "two residuals on one stream, read again after both",
    on: (x, w) => {
      const h = scale(x, 0.5);
      const a = add(h, linear(h, w));
      const b = add(a, linear(a, w));
      return add(b, scale(h, 3));
    },
    reference: (x) => {
      const h = times(x, 0.5);
      const a = plus(h, through(h));
      return plus(plus(a, through(a)), times(h, 3));
    },
  },
  {
    name: "one side of a shared gradient gets more before the other is read",
    on: (x) => {
      const [old, young] = [scale(x, 2), scale(x, 3)];
      const more = scale(young, 5);
      return scale(add(add(young, old), more), 0.5);
    },
    reference: (x) => times(x, 10),
  },
  {
    name: "four readers of one tensor",
    on: (x, w) => {
      const h = scale(x, 0.5);
      return add(add(linear(h, w), linear(h, w)), add(scale(h, 2), linear(h, w)));
    },
    reference: (x) => plus(times(through(times(x, 0.5)), 3), x),
  },
];

describe.each(graphs)("$name", ({ on, reference }) => {
  const loss = (v: ArrayLike<number>): number => dot(reference(Float64Array.from(v)), dy);
  const expected = finiteDifference(loss, x);

  test("gradients equal finite differences of the reference, and leave what they were given alone", async () => {
    const out = await bothModes(await testDevice(), inputs, (t) => {
      const y = on(trainable(t.x), t.w);
      const [dx] = gradients(y, t.dy, [t.x]);
      const [again] = gradients(y, t.dy, [t.x]);
      return { y, dx: dx!, again: again!, given: scale(t.dy, 1) };
    });
    expect(maxAbsError(out.y, reference(x))).toBeLessThan(1e-5);
    expect(maxAbsError(out.dx, expected)).toBeLessThan(1e-4);
    expect(out.again).toEqual(out.dx);
    expect(maxAbsError(out.given, dy)).toBeLessThan(1e-6);
  });

  test("the same under recomputation, and into a sink", async () => {
    const device = await testDevice();
    const held = seededNormals(n, 4);
    const sink = f32(device, [rows, dim], held);
    const leaf = trainable(f32(device, [rows, dim], x), sink);
    const weight = f32(device, [dim, dim], w);
    backward(
      recompute(device, () => on(leaf, weight)),
      f32(device, [rows, dim], dy),
    );
    expect(maxAbsError(await values(sink), plus(expected, held))).toBeLessThan(1e-4);
  });
});

test("a gradient that nobody else reads is added to by the op itself, or in place", async () => {
  const device = await testDevice();
  const like = (label: string, shape: number[]): Tensor =>
    state(device, { shape, dtype: "f32", category: "state", label });
  const [x, w, dy] = [
    trainable(like("x", [rows, dim]), like("sink", [rows, dim])),
    like("w", [dim, dim]),
    like("dy", [rows, dim]),
  ];
  const launches = (on: (h: Tensor) => Tensor): string[] => {
    const program = record(device, "sums", () => {
      backward(on(scale(x, 2)), dy);
      return {};
    });
    return program.plan.launches.map((l) => l.variant.kernel.label.replace(/matmul_\w+/, "matmul"));
  };
  // backward of three products of one tensor: the first makes its gradient, the others add to it
  expect(
    launches((h) => add(linear(h, w), add(linear(h, w), linear(h, w)))).filter((l) => l === "matmul"),
  ).toHaveLength(3);
  expect(launches((h) => add(linear(h, w), add(linear(h, w), linear(h, w)))).join(" ")).not.toContain("add_scaled");
  // scale has no way to add: the tape adds in place
  expect(launches((h) => add(scale(h, 3), linear(h, w)))).toEqual([
    "matmul",
    "scale_by",
    "accumulate",
    "scale_by(x=out)",
    "accumulate",
  ]);
});
