import { maxAbsError, seededNormals } from "@tunesmith/testing";
import { expect, test } from "vitest";
import { f32, testDevice, values } from "../../../../../tests/support/device.ts";
import { empty } from "../../tensor.ts";
import { columnSums } from "./column-sums.ts";

// one slice, exactly one, one row more than one, several; columns in fours and not, more than a workgroup has lanes
test.each([
  [1, 1],
  [128, 8],
  [129, 5],
  [300, 68],
])("columnSums [%i, %i] equals the loop, also on top of old values", async (rows, cols) => {
  const device = await testDevice();
  const x = seededNormals(rows * cols, 1);
  const want = new Float64Array(cols);
  for (const [i, v] of x.entries()) want[i % cols]! += v;
  const fresh = empty(device, [cols]);
  columnSums({ x: f32(device, [rows, cols], x), out: fresh });
  expect(maxAbsError(await values(fresh), want)).toBeLessThan(1e-4);
  const sink = f32(device, [cols], new Float64Array(cols).fill(3));
  columnSums({ x: f32(device, [rows, cols], x), out: sink, accumulate: true });
  expect(
    maxAbsError(
      await values(sink),
      want.map((v) => v + 3),
    ),
  ).toBeLessThan(1e-4);
});

test("columnSums refuses an output of another length", async () => {
  const device = await testDevice();
  expect(() => columnSums({ x: empty(device, [2, 3]), out: empty(device, [2]) })).toThrow(
    /out has shape \[2\], expected \[3\]/,
  );
});
