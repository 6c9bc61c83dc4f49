import { describe, expect, test } from "vitest";
import { dot, finiteDifference, maxAbsError, seededNormals } from "@tunesmith/testing";
import * as reference from "@tunesmith/testing";
import { f32, testDevice, values } from "../../../../tests/support/device.ts";
import { bothModes, given } from "../../../../tests/support/modes.ts";
import { gradients, trainable } from "../tape.ts";
import { swiglu } from "./swiglu.ts";

describe.each([
  ["default", undefined, [1, 63, 64, 65, 1030]],
  ["portable", { subgroups: false, immediates: false, software: false }, [65]],
])("%s", (_, facts, sizes) => {
  test.each(sizes)("swiglu [%i]: value and gradients", async (n) => {
    const [gate, up, dy] = [seededNormals(n, 1, 3), seededNormals(n, 2), seededNormals(n, 3)];
    const out = await bothModes(
      await testDevice(facts),
      { gate: given([n], gate), up: given([n], up), dy: given([n], dy) },
      (t) => {
        const y = swiglu(trainable(t.gate), trainable(t.up));
        const [dgate, dup] = gradients(y, t.dy, [t.gate, t.up]);
        return { y, dgate: dgate!, dup: dup! };
      },
    );
    const loss = (g: ArrayLike<number>, u: ArrayLike<number>): number => dot(reference.swiglu(g, u), dy);
    expect(maxAbsError(out.y, reference.swiglu(gate, up))).toBeLessThan(5e-6);
    expect(
      maxAbsError(
        out.dgate,
        finiteDifference((v) => loss(v, up), gate),
      ),
    ).toBeLessThan(1e-5);
    expect(
      maxAbsError(
        out.dup,
        finiteDifference((v) => loss(gate, v), up),
      ),
    ).toBeLessThan(1e-4);
  });
});

test("swiglu far out, where exp would overflow float32 unless taken of −|x|", async () => {
  const device = await testDevice();
  const [gate, up] = [f32(device, [3], [-200, 200, -100]), f32(device, [3], [3, 3, -2])];
  const y = swiglu(trainable(gate), trainable(up));
  expect(await values(y)).toEqual(Float64Array.of(-0, 600, 0));
  const [dgate, dup] = gradients(y, f32(device, [3], [1, 1, 1]), [gate, up]);
  expect(maxAbsError(await values(dgate!), [0, 3, 0])).toBeLessThan(1e-30);
  expect(maxAbsError(await values(dup!), [0, 200, 0])).toBeLessThan(1e-30);
});

test("swiglu refuses two shapes", async () => {
  const device = await testDevice();
  expect(() => swiglu(f32(device, [2, 3], Array(6)), f32(device, [3, 2], Array(6)))).toThrow(
    expect.objectContaining({ code: "SHAPE_MISMATCH" }),
  );
});
