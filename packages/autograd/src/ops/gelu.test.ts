import { describe, expect, test } from "vitest";
import { dot, finiteDifference, gelu as exact, geluTanh } from "@tunesmith/testing";
import { maxAbsError, seededNormals } from "@tunesmith/testing";
import { f32, testDevice, values } from "../../../../tests/support/device.ts";
import { bothModes, given } from "../../../../tests/support/modes.ts";
import { gradients, trainable } from "../tape.ts";
import { gelu } from "./gelu.ts";

const forms = [
  ["tanh", geluTanh],
  ["exact", exact],
] as const;

describe.each([
  { name: "default", facts: undefined, sizes: [1, 63, 64, 65, 1030] },
  { name: "portable", facts: { subgroups: false, immediates: false, software: false }, sizes: [65] },
])("$name", ({ facts, sizes }) => {
  const cases = sizes.flatMap((n) => forms.map(([form, reference]) => ({ n, form, reference })));
  test.each(cases)("gelu [$n] $form: value and gradient", async ({ n, form, reference }) => {
    const [x, dy] = [seededNormals(n, 1, 2), seededNormals(n, 2)];
    const out = await bothModes(await testDevice(facts), { x: given([n], x), dy: given([n], dy) }, (t) => {
      const y = gelu(trainable(t.x), form);
      return { y, dx: gradients(y, t.dy, [t.x])[0]! };
    });
    expect(maxAbsError(out.y, reference(x))).toBeLessThan(2e-6);
    const expected = finiteDifference((v) => dot(reference(v), dy), x);
    expect(maxAbsError(out.dx, expected)).toBeLessThan(1e-5);
  });
});

test("the exact form is x · Φ(x) to a few ulp of x everywhere", async () => {
  const x = Float64Array.from({ length: 2001 }, (_, i) => Math.fround((i - 1000) / 100));
  const y = await values(gelu(f32(await testDevice(), [2001], x), "exact"));
  expect(maxAbsError(y, exact(x))).toBeLessThan(1e-6);
});

test.each(["tanh", "exact"] as const)("gelu %s far out is x or 0, with slope 1 or 0", async (form) => {
  const device = await testDevice();
  const x = trainable(f32(device, [4], [-1000, -20, 20, 1000]));
  const y = gelu(x, form);
  expect(maxAbsError(await values(y), [0, 0, 20, 1000])).toBeLessThan(1e-30);
  const [dx] = gradients(y, f32(device, [4], [1, 1, 1, 1]), [x]);
  expect(maxAbsError(await values(dx!), [0, 0, 1, 1])).toBeLessThan(1e-30);
});
