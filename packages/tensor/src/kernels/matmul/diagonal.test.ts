import { matmul as reference, maxAbsError, seededNormals } from "@tunesmith/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { f32, testDevice, values } from "../../../../../tests/support/device.ts";
import type { Device } from "../../device.ts";
import { empty } from "../../tensor.ts";
import { canBeDiagonal } from "./diagonal.ts";
import type { Diagonal } from "./diagonal.ts";
import { matmul } from "./matmul.ts";

/** The matrix that stacked blocks stand for. */
function whole(stacked: ArrayLike<number>, { ends, width }: Diagonal): Float64Array {
  const cols = ends.length * width;
  const matrix = new Float64Array(ends.at(-1)! * cols);
  for (const [block, end] of ends.entries())
    for (let row = ends[block - 1] ?? 0; row < end; row++)
      for (let j = 0; j < width; j++) matrix[row * cols + block * width + j] = stacked[row * width + j]!;
  return matrix;
}

// borders beside every tile and every run of four; two blocks in one tile; one block; small products, in odd lines too
const CASES: readonly [rows: number, blocks: Diagonal][] = [
  [70, { ends: [37, 71, 132], width: 16 }],
  [65, { ends: [64, 96, 128], width: 4 }],
  [130, { ends: [66, 132], width: 8 }],
  [66, { ends: [128], width: 12 }],
  [5, { ends: [7, 13], width: 4 }],
];

describe.each([
  ["as opened", undefined],
  ["portable", { subgroups: false, software: false }],
])("block-diagonal operands, %s", (_, facts) => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
  });

  test.each(CASES)("%i rows, %o: a right operand", async (rows, blocks) => {
    const { ends, width } = blocks;
    const [depth, cols] = [ends.at(-1)!, ends.length * width];
    const [a, b] = [seededNormals(rows * depth, 1), seededNormals(depth * width, 2)];
    const out = empty(device, [rows, cols]);
    const diagonal = { operand: "b", blocks } as const;
    matmul({
      layout: "nn",
      a: f32(device, [rows, depth], a),
      b: f32(device, [depth, width], b),
      out,
      diagonal,
      scale: 0.5,
    });
    const want = reference(a, whole(b, blocks), { m: rows, n: cols, k: depth }, "NN").map((v) => 0.5 * v);
    expect(maxAbsError(await values(out), want)).toBeLessThan(3e-5);
  });

  // joined to the first product; apart, because it is small or because the first operand has several shards
  test.each([...CASES.map((c) => [...c, false] as const), [70, { ends: [37, 71, 132], width: 16 }, true] as const])(
    "%i rows, %o, shards %s: a second product",
    async (rows, blocks, sharded) => {
      const { ends, width } = blocks;
      const [depth, cols, rank] = [68, ends.at(-1)!, ends.length * width];
      const [a, b] = [seededNormals(rows * depth, 1), seededNormals(cols * depth, 2)];
      const [a2, b2] = [seededNormals(rows * rank, 3), seededNormals(cols * width, 4)];
      const out = empty(device, [rows, cols]);
      const cut = sharded ? [0, 40, cols] : [0, cols];
      matmul({
        layout: "nt",
        a: f32(device, [rows, depth], a),
        b: {
          shape: [cols, depth],
          format: "f32",
          shards: cut.slice(0, -1).map((firstRow, i) => ({
            firstRow,
            rows: cut[i + 1]! - firstRow,
            tensor: f32(device, [cut[i + 1]! - firstRow, depth], b.slice(firstRow * depth, cut[i + 1]! * depth)),
          })),
        },
        plus: { layout: "nt", a: f32(device, [rows, rank], a2), b: f32(device, [cols, width], b2) },
        diagonal: { operand: "plus.b", blocks },
        out,
      });
      const second = reference(a2, whole(b2, blocks), { m: rows, n: cols, k: rank }, "NT");
      const want = reference(a, b, { m: rows, n: cols, k: depth }, "NT").map((v, i) => v + second[i]!);
      expect(maxAbsError(await values(out), want)).toBeLessThan(3e-5);
    },
  );

  // the last in slices of the depth
  test.each([...CASES, [6144, { ends: [20, 36], width: 16 }] as const])(
    "%i rows, %o: the blocks of a gradient",
    async (depth, blocks) => {
      const { ends, width } = blocks;
      const [rows, cols] = [ends.at(-1)!, ends.length * width];
      const [a, b] = [seededNormals(depth * rows, 1), seededNormals(depth * cols, 2)];
      const before = seededNormals(rows * width, 3);
      const out = f32(device, [rows, width], before);
      matmul({
        layout: "tn",
        a: f32(device, [depth, rows], a),
        b: f32(device, [depth, cols], b),
        out,
        diagonal: { operand: "out", blocks },
        accumulate: true,
      });
      const full = reference(a, b, { m: rows, n: cols, k: depth }, "TN");
      const want = before.map((v, i) => {
        const row = Math.floor(i / width);
        return v + full[row * cols + ends.findIndex((end) => row < end) * width + (i % width)]!;
      });
      expect(maxAbsError(await values(out), want)).toBeLessThan(2e-6 * Math.sqrt(depth) + 1e-6);
    },
  );

  test("what cannot be block-diagonal is refused", () => {
    expect(canBeDiagonal({ ends: [1, 2, 3], width: 4 })).toBe(true);
    expect(canBeDiagonal({ ends: [1, 2, 3, 4], width: 4 })).toBe(false);
    expect(canBeDiagonal({ ends: [1], width: 6 })).toBe(false);
    const product = (blocks: Diagonal): void =>
      matmul({
        layout: "nn",
        a: empty(device, [3, 8]),
        b: empty(device, [8, blocks.width]),
        out: empty(device, [3, 2 * blocks.width]),
        diagonal: { operand: "b", blocks },
      });
    expect(() => product({ ends: [4, 8], width: 6 })).toThrow(/2 blocks of 6 columns/);
    const blocks = { ends: [4, 8], width: 4 };
    const wrong = {
      layout: "tn",
      a: empty(device, [8, 3]),
      b: empty(device, [8, 4]),
      out: empty(device, [3, 8]),
    } as const;
    expect(() => matmul({ ...wrong, diagonal: { operand: "b", blocks } })).toThrow(/b of layout tn/);
    expect(() => product({ ends: [4, 7], width: 4 })).toThrow(/diagonal has shape \[7\], expected \[8\]/);
  });
});
