import { expect, test } from "vitest";
import { seededNormals } from "@tunesmith/testing";
import { f32, testDevice } from "../../../../tests/support/device.ts";
import { bothModes, given } from "../../../../tests/support/modes.ts";
import { gradients, trainable } from "../tape.ts";
import { add, scale } from "./elementwise.ts";

test.each([1, 63, 64, 65, 1100])("add and scale [%i]: value and gradients, exactly", async (n) => {
  const [a, b, dy] = [seededNormals(n, 1), seededNormals(n, 2), seededNormals(n, 3)];
  const out = await bothModes(await testDevice(), { a: given([n], a), b: given([n], b), dy: given([n], dy) }, (t) => {
    const y = add(trainable(t.a), scale(trainable(t.b), -0.5));
    const twice = add(t.a, t.a); // one leaf, two gradients
    const [da, db] = gradients(y, t.dy, [t.a, t.b]);
    const [d2] = gradients(twice, t.dy, [t.a]);
    return { y, da: da!, db: db!, d2: d2! };
  });
  const f = (values: Float64Array): Float32Array => Float32Array.from(values);
  expect(out.y).toEqual(f(a.map((v, i) => v + -0.5 * b[i]!)));
  expect(out.da).toEqual(f(dy));
  expect(out.db).toEqual(f(dy.map((v) => -0.5 * v)));
  expect(out.d2).toEqual(f(dy.map((v) => 2 * v)));
});

test("scale passes infinities on without making NaN", async () => {
  const device = await testDevice();
  const y = scale(f32(device, [2], [Infinity, -Infinity]), 2);
  expect(await y.read()).toEqual(Float32Array.of(Infinity, -Infinity));
});

test("add refuses two shapes", async () => {
  const device = await testDevice();
  expect(() => add(f32(device, [2], [1, 2]), f32(device, [1, 2], [1, 2]))).toThrow(/elementwise/);
});
