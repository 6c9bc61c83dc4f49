import { matmul as product, maxAbsError, seededNormals } from "@tunesmith/testing";
import { expect, test } from "vitest";
import { f32, testDevice, values } from "../../../../../tests/support/device.ts";
import { empty, upload } from "../../tensor.ts";
import type { Tensor } from "../../tensor.ts";
import { matmul } from "./matmul.ts";

const ROWS = 256;
test.each([
  ["as opened", undefined, "nt", 96, 40],
  ["as opened", undefined, "nn", 33, 1024], // a long depth, which is cut into slices
  ["as opened", undefined, "nt", 7, 5],
  ["portable", { subgroups: false, software: false }, "nt", 96, 40],
  ["portable", { subgroups: false, software: false }, "nn", 33, 300],
] as const)("%s, %#: only the tiles of the rows that are wanted are computed", async (_, facts, layout, n, k) => {
  const device = await testDevice(facts);
  const [a, b] = [seededNormals(ROWS * k, 1), seededNormals(n * k, 2)];
  const expected = product(a, b, { m: ROWS, n, k }, layout === "nt" ? "NT" : "NN");
  for (const wanted of [0, 1, 64, 65, ROWS]) {
    const out = empty(device, [ROWS, n]); // full of NaN
    let tile = 0;
    matmul({
      layout,
      a: f32(device, [ROWS, k], a),
      b: f32(device, layout === "nt" ? [n, k] : [k, n], b),
      out,
      rowTiles: (rows, y): Tensor<"u32"> => {
        tile = rows;
        return upload(device, [3], "u32", Uint32Array.of(Math.ceil(wanted / rows), y, 1));
      },
    });
    const found = await values(out);
    expect(tile).toBeGreaterThan(0);
    expect(maxAbsError(found.subarray(0, wanted * n), expected.subarray(0, wanted * n))).toBeLessThan(1e-4);
    const beyond = Math.min(ROWS, Math.ceil(wanted / tile) * tile);
    expect(found.subarray(beyond * n).every(Number.isNaN), `${wanted} of ${ROWS} rows, tiles of ${tile}`).toBe(true);
  }
});
