import { seededNormals } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { f32, testDevice } from "../../../../tests/support/device.ts";
import { bothModes, given } from "../../../../tests/support/modes.ts";
import type { Given } from "../../../../tests/support/modes.ts";
import { gradients, trainable } from "../tape.ts";
import { splitColumns } from "./split-columns.ts";

/** Which numbers of x, in order, a part of each group has. */
function partOf(x: ArrayLike<number>, rows: number, widths: readonly number[], groups: number, part: number): number[] {
  const width = widths.reduce((sum, w) => sum + w, 0);
  const first = widths.slice(0, part).reduce((sum, w) => sum + w, 0);
  const runs = Array.from({ length: rows * groups }, (_, run) => run * width + first);
  return runs.flatMap((at) => Array.from({ length: widths[part]! }, (_, i) => x[at + i]!));
}

describe.each([
  { name: "default", facts: undefined },
  { name: "portable", facts: { subgroups: false, immediates: false, software: false } },
])("splitColumns, $name", ({ facts }) => {
  test.each([
    { rows: 1, widths: [1, 1], groups: 1 },
    { rows: 3, widths: [5, 2, 3], groups: 1 },
    { rows: 70, widths: [8, 4, 12], groups: 1 }, // four at a time
    { rows: 9, widths: [6, 6, 6], groups: 4 },
    { rows: 5, widths: [4, 4, 4], groups: 3 },
  ])("$rows rows, $groups × $widths: parts, and gradients joined again", async ({ rows, widths, groups }) => {
    const size = rows * groups * widths.reduce((sum, w) => sum + w, 0);
    const [x, dx] = [seededNormals(size, 1).map(Math.fround), seededNormals(size, 2).map(Math.fround)];
    const parts = (of: ArrayLike<number>): number[][] =>
      widths.map((_, part) => partOf(of, rows, widths, groups, part));
    const dParts = parts(dx).map((values, i) => [`d${i}`, given([rows, groups * widths[i]!], values)] as const);
    const inputs: Record<string, Given> = { x: given([rows, size / rows], x), ...Object.fromEntries(dParts) };
    const out = await bothModes(await testDevice(facts), inputs, (t) => {
      const y = splitColumns(trainable(t["x"]!), widths, groups);
      const found = y.map((part, i) => gradients(part, t[`d${i}`]!, [t["x"]!])[0]!);
      return Object.fromEntries([...y, ...found].map((tensor, i) => [String(i), tensor]));
    });
    for (const [i, expected] of parts(x).entries()) expect([...out[i]!]).toEqual(expected);
    // each part alone: its own columns of the gradient, zeros elsewhere
    for (const i of widths.keys()) {
      const gradient = out[widths.length + i]!;
      for (const [other, values] of parts(gradient).entries())
        expect(values).toEqual(other === i ? parts(dx)[i] : values.map(() => 0));
    }
  });
});

test("splitColumns refuses what does not add up", async () => {
  const device = await testDevice();
  const x = f32(device, [2, 6], new Float64Array(12));
  expect(() => splitColumns(x, [2, 3])).toThrow(/splitColumns: x has shape \[2, 6\], expected \[rows, 5\]/);
  expect(() => splitColumns(x, [6])).toThrow(/splitColumns/);
  expect(() => splitColumns(x, [2, 1], 3)).toThrow(/expected \[rows, 9\]/);
});
