import { describe, expect, test } from "vitest";
import { record } from "@tunesmith/tensor";
import { dot, finiteDifference, maxAbsError, seededNormals } from "@tunesmith/testing";
import * as reference from "@tunesmith/testing";
import { f32, testDevice, values } from "../../../../tests/support/device.ts";
import { bothModes, given } from "../../../../tests/support/modes.ts";
import { gradients, trainable } from "../tape.ts";
import { scale } from "./elementwise.ts";
import { gatedLinearUnit } from "./gated-linear-unit.ts";

const activations = ["silu", "gelu_tanh"] as const;

/** The definition on rows of gate and up side by side. */
function gated(x: ArrayLike<number>, width: number, activation: (typeof activations)[number]): Float64Array {
  const half = (offset: number): Float64Array =>
    Float64Array.from({ length: x.length / 2 }, (_, i) => x[Math.floor(i / width) * 2 * width + offset + (i % width)]!);
  const [gate, up] = [half(0), half(width)];
  return activation === "silu" ? reference.swiglu(gate, up) : reference.geglu(gate, up);
}

const sizes: [rows: number, width: number][] = [
  [1, 1],
  [5, 63],
  [7, 64],
  [3, 84],
  [100, 3],
];
describe.each([
  ["default", undefined, sizes],
  ["portable", { subgroups: false, immediates: false, software: false }, sizes.slice(1, 3)],
])("%s", (_, facts, sizes) => {
  describe.each(activations)("%s", (activation) => {
    test.each(sizes)("[%i, 2 · %i]: value and gradient", async (rows, width) => {
      const [x, dy] = [seededNormals(rows * 2 * width, 1, 3), seededNormals(rows * width, 3)];
      const inputs = { x: given([rows, 2 * width], x), dy: given([rows, width], dy) };
      const out = await bothModes(await testDevice(facts), inputs, (t) => {
        const y = gatedLinearUnit(scale(trainable(t.x), 1), { activation });
        const [dx] = gradients(y, t.dy, [t.x]);
        return { y, dx: dx! };
      });
      expect(maxAbsError(out.y, gated(x, width, activation))).toBeLessThan(5e-6);
      const expected = finiteDifference((v) => dot(gated(v, width, activation), dy), x);
      expect(maxAbsError(out.dx, expected)).toBeLessThan(1e-4);
    });
  });
});

test("silu far out, where exp would overflow float32 unless taken of −|x|", async () => {
  const device = await testDevice();
  const x = trainable(f32(device, [3, 2], [-200, 3, 200, 3, -100, -2]));
  const y = gatedLinearUnit(x, { activation: "silu" });
  expect(await values(y)).toEqual(Float64Array.of(-0, 600, 0));
  const [dx] = gradients(y, f32(device, [3, 1], [1, 1, 1]), [x]);
  expect(maxAbsError(await values(dx!), [0, 0, 3, 200, 0, 0])).toBeLessThan(1e-30);
});

test("in a recorded program the gradient takes over the memory of gate and up", async () => {
  const device = await testDevice();
  const program = record(device, "gated", ({ input }) => {
    const x = trainable(input("x", [64, 128], "f32"));
    const y = gatedLinearUnit(scale(x, 2), { activation: "silu" });
    const [dx] = gradients(y, scale(y, 1), [x]);
    return { dx: dx! };
  });
  const labels = program.plan.launches.map((l) => l.variant.kernel.label);
  expect(labels.filter((label) => label.startsWith("gated"))).toEqual([
    "gated_forward",
    expect.stringContaining("dgate_up"),
  ]);
});

test("an odd number of columns is refused", async () => {
  const device = await testDevice();
  expect(() => gatedLinearUnit(f32(device, [2, 3], Array(6)), { activation: "silu" })).toThrow(
    expect.objectContaining({ code: "SHAPE_MISMATCH" }),
  );
});
