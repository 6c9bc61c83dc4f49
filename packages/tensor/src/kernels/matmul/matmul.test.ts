import { matmul as reference, maxAbsError, seededIntegers, seededNormals } from "@tunesmith/testing";
import { beforeAll, describe, expect, test } from "vitest";
import { f32, testDevice, values } from "../../../../../tests/support/device.ts";
import type { Device } from "../../device.ts";
import { record } from "../../recorder.ts";
import { empty, state, upload } from "../../tensor.ts";
import type { Tensor } from "../../tensor.ts";
import type { Weight, DenseFormat } from "../../weight.ts";
import { matmul } from "./matmul.ts";
import type { MatmulArgs } from "./matmul.ts";

type Layout = MatmulArgs["layout"];
const LAYOUTS: readonly Layout[] = ["nn", "nt", "tn"];

/** f32 rounding of a sum of k products of normals: each is near 1, the sum's error grows like √k. */
const tolerance = (k: number): number => 2e-6 * Math.sqrt(k) + 1e-6;

function shapes(layout: Layout, m: number, n: number, k: number): { a: number[]; b: number[] } {
  return { a: layout === "tn" ? [k, m] : [m, k], b: layout === "nt" ? [n, k] : [k, n] };
}
const expected = (
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  layout: Layout,
  m: number,
  n: number,
  k: number,
): Float64Array => reference(a, b, { m, n, k }, layout.toUpperCase() as "NN" | "NT" | "TN");

/** Random 16-bit words of normal numbers near 1, and what they mean by their definitions. */
function words(format: "f16" | "bf16", n: number, seed: number): { bits: Uint16Array; meaning: Float64Array } {
  const [mantissa, exponents, bias] = format === "f16" ? [10, 4, 15] : [7, 4, 127];
  const random = seededIntegers(3 * n, seed, 0, 1 << 16);
  const bits = new Uint16Array(n);
  const meaning = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const sign = random[3 * i]! & 1;
    const exponent = bias - 3 + (random[3 * i + 1]! % exponents);
    const fraction = random[3 * i + 2]! & ((1 << mantissa) - 1);
    bits[i] = (sign << 15) | (exponent << mantissa) | fraction;
    meaning[i] = (sign ? -1 : 1) * 2 ** (exponent - bias) * (1 + fraction / 2 ** mantissa);
  }
  return { bits, meaning };
}

/** A weight cut after the given rows, each shard a tensor of its own. */
function sharded(
  device: Device,
  format: DenseFormat,
  data: Float32Array | Uint16Array,
  rows: number,
  cols: number,
  cuts: readonly number[],
): Weight {
  const borders = [0, ...cuts, rows];
  return {
    shape: [rows, cols],
    format,
    shards: borders.slice(0, -1).map((firstRow, i) => {
      const count = borders[i + 1]! - firstRow;
      const part = data.slice(firstRow * cols, (firstRow + count) * cols);
      return {
        tensor: upload(device, [count, cols], format, part as never),
        firstRow,
        rows: count,
      };
    }),
  };
}

// software: the subgroup kernel where the test machine has lavapipe; portable: what every other GPU runs
describe.each([
  ["as opened", undefined],
  ["portable", { subgroups: false, software: false }],
])("matmul, %s", (_, facts) => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
  });

  // small products, which share variants: lone elements, sizes that are not multiples of four, one beside the tile;
  // large ones: around every tile with few rows, few columns (computed as the transpose), odd lines in one operand
  // only, and a depth cut into slices
  describe.each([
    [1, 1, 1],
    [3, 5, 7],
    [17, 20, 36],
    [3, 132, 104],
    [7, 65, 129],
    [130, 8, 68],
    [129, 6, 33],
    [65, 67, 66],
    [64, 68, 64],
    [70, 63, 68],
    [132, 260, 124],
    [12, 20, 6144],
    [12, 19, 6001],
  ])("%i × %i × %i", (m, n, k) => {
    test.each(LAYOUTS)("%s equals the float64 loop", async (layout) => {
      const shape = shapes(layout, m, n, k);
      const [a, b] = [seededNormals(m * k, 1), seededNormals(k * n, 2)];
      const out = empty(device, [m, n]);
      matmul({ layout, a: f32(device, shape.a, a), b: f32(device, shape.b, b), out });
      expect(maxAbsError(await values(out), expected(a, b, layout, m, n, k))).toBeLessThan(tolerance(k));
    });
  });

  test("a product large enough for the largest shared tile", async () => {
    const [m, n, k] = [1924, 2052, 20];
    const [a, b] = [seededNormals(m * k, 1), seededNormals(n * k, 2)];
    const out = empty(device, [m, n]);
    matmul({ layout: "nt", a: f32(device, [m, k], a), b: f32(device, [n, k], b), out });
    expect(maxAbsError(await values(out), expected(a, b, "nt", m, n, k))).toBeLessThan(tolerance(k));
  });

  // a small one; as the transpose; in unaligned slices
  test.each([
    ["nn", 20, 36, 16],
    ["nt", 130, 8, 68],
    ["nt", 12, 19, 6001],
  ] as const)("%s %i × %i × %i: scale, bias and accumulation", async (layout, m, n, k) => {
    const shape = shapes(layout, m, n, k);
    const [a, b] = [seededNormals(m * k, 1), seededNormals(k * n, 2)];
    const [bias, before] = [seededNormals(n, 3), seededNormals(m * n, 4)];
    const out = f32(device, [m, n], before);
    matmul({
      layout,
      a: f32(device, shape.a, a),
      b: f32(device, shape.b, b),
      out,
      bias: f32(device, [n], bias),
      scale: 0.5,
      accumulate: true,
    });
    const want = expected(a, b, layout, m, n, k).map((v, i) => 0.5 * v + bias[i % n]! + before[i]!);
    expect(maxAbsError(await values(out), want)).toBeLessThan(tolerance(k));
  });

  // joined: [70, 132, 68] with a rank of fours, in both orientations of the second factor and with the other layout
  // first, in slices, few rows; apart: an odd rank, a small product, columns that are not in fours
  test.each([
    ["nt", "nt", 70, 132, 68, 8],
    ["nn", "nn", 70, 132, 68, 40],
    ["nn", "nt", 70, 132, 68, 4],
    ["nt", "nt", 12, 19, 6001, 8],
    ["nn", "nn", 3, 132, 104, 4],
    ["nt", "nt", 70, 132, 68, 3],
    ["nt", "nt", 9, 12, 16, 4],
    ["nn", "nn", 70, 131, 68, 4],
  ] as const)("%s plus %s, %i × %i × (%i + %i)", async (layout, second, m, n, k, rank) => {
    const [shape, shape2] = [shapes(layout, m, n, k), shapes(second, m, n, rank)];
    const [a, b, a2, b2] = [m * k, k * n, m * rank, rank * n].map((size, i) => seededNormals(size, i)) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const before = seededNormals(m * n, 5);
    const bias = seededNormals(n, 6);
    const out = f32(device, [m, n], before);
    matmul({
      layout,
      a: f32(device, shape.a, a),
      b: f32(device, shape.b, b),
      plus: { layout: second, a: f32(device, shape2.a, a2), b: f32(device, shape2.b, b2) },
      out,
      bias: f32(device, [n], bias),
      scale: 0.5,
      accumulate: true,
    });
    const first = expected(a, b, layout, m, n, k);
    const want = expected(a2, b2, second, m, n, rank).map((v, i) => 0.5 * (v + first[i]!) + bias[i % n]! + before[i]!);
    expect(maxAbsError(await values(out), want)).toBeLessThan(tolerance(k + rank));
  });

  // 36 columns: rows start at multiples of four elements; 37: they do not, and 16-bit rows start inside a word
  describe.each(["f16", "bf16"] as const)("weight in %s", (format) => {
    test.each([
      ["nt", 19, 40, 36],
      ["nn", 19, 36, 40],
      ["nt", 70, 40, 37],
      ["nn", 70, 37, 40],
      ["nt", 2, 160, 196], // a row of decoding
    ] as const)("%s %i × %i × %i, in three row shards", async (layout, m, n, k) => {
      const [rows, cols] = layout === "nt" ? [n, k] : [k, n];
      const { bits, meaning } = words(format, n * k, 5);
      const a = seededNormals(m * k, 1);
      const bias = seededNormals(n, 3);
      const out = empty(device, [m, n]);
      // 8: an aligned shard; 8 + 13: a shard that starts at an odd column of out (nt) or of a (nn)
      const b = sharded(device, format, bits, rows, cols, [8, 21]);
      matmul({ layout, a: f32(device, [m, k], a), b, out, bias: f32(device, [n], bias) });
      const want = expected(a, meaning, layout, m, n, k).map((v, i) => v + bias[i % n]!);
      expect(maxAbsError(await values(out), want)).toBeLessThan(tolerance(k));
    });
  });

  test("f32 shards equal the whole weight, accumulating and with a second product", async () => {
    const [m, n, k, rank] = [5, 12, 24, 4];
    const [a, b, a2, b2, before] = [
      seededNormals(m * k, 1),
      seededNormals(k * n, 2),
      seededNormals(m * rank, 3),
      seededNormals(rank * n, 4),
      seededNormals(m * n, 5),
    ];
    for (const layout of ["nn", "nt"] as const) {
      const [rows, cols] = layout === "nt" ? [n, k] : [k, n];
      const out = f32(device, [m, n], before);
      matmul({
        layout,
        a: f32(device, [m, k], a),
        b: sharded(device, "f32", Float32Array.from(b), rows, cols, [4]),
        plus: { layout, a: f32(device, [m, rank], a2), b: f32(device, shapes(layout, m, n, rank).b, b2) },
        out,
        scale: 2,
        accumulate: true,
      });
      const second = expected(a2, b2, layout, m, n, rank);
      const want = expected(a, b, layout, m, n, k).map((v, i) => 2 * (v + second[i]!) + before[i]!);
      expect(maxAbsError(await values(out), want)).toBeLessThan(tolerance(k));
    }
  });

  test("two runs and a replay give the same bytes", async () => {
    const [m, n, k] = [12, 20, 6144]; // in slices
    const [a, b] = [seededNormals(m * k, 1), seededNormals(k * n, 2)].map((v) => Float32Array.from(v)) as [
      Float32Array,
      Float32Array,
    ];
    const run = (left: Tensor, right: Tensor): Tensor => {
      const out = empty(device, [m, n]);
      matmul({ layout: "nt", a: left, b: right, out });
      return out;
    };
    const right = state(device, {
      shape: [n, k],
      dtype: "f32",
      category: "weights",
      label: "b",
      data: b,
    });
    const left = f32(device, [m, k], a);
    const first = await run(left, right).read();
    const second = await run(left, right).read();
    const program = record(device, "matmul", ({ input }) => ({
      out: run(input("a", [m, k], "f32"), right),
    }));
    const { out } = await program.replay({ a }).read();
    expect(second).toEqual(first);
    expect(out).toEqual(first);
  });

  test("no columns and no rows launch nothing", async () => {
    const out = empty(device, [0, 4]);
    matmul({ layout: "nn", a: empty(device, [0, 3]), b: empty(device, [3, 4]), out });
    expect(await out.read()).toHaveLength(0);
  });

  test("wrong shapes and dtypes are refused by name", () => {
    const t = (...shape: number[]): Tensor => empty(device, shape);
    const refuse = (args: MatmulArgs, message: RegExp): void => expect(() => matmul(args)).toThrow(message);
    refuse({ layout: "nn", a: t(2, 3), b: t(4, 5), out: t(2, 5) }, /b has shape \[4, 5\], expected \[3, 5\]/);
    refuse({ layout: "nt", a: t(2, 3), b: t(5, 3), out: t(5, 2) }, /out has shape \[5, 2\], expected \[2, 5\]/);
    refuse({ layout: "tn", a: t(3, 2), b: t(3, 5), out: t(2, 5), bias: t(2) }, /bias has shape \[2\], expected \[5\]/);
    const plus = { layout: "nn", a: t(2, 1), b: t(1, 4) } as const;
    refuse(
      { layout: "nn", a: t(2, 3), b: t(3, 5), out: t(2, 5), plus },
      /plus\.b has shape \[1, 4\], expected \[1, 5\]/,
    );
    refuse({ layout: "nn", a: t(2), b: t(2, 2), out: t(1, 2) }, /a has shape \[2\]/);
    refuse({ layout: "nn", a: empty(device, [2, 2], "u32"), b: t(2, 2), out: t(2, 2) }, /a is u32/);
    refuse({ layout: "nn", a: t(2, 2), b: empty(device, [2, 2], "i32"), out: t(2, 2) }, /b is i32/);
    const weight = sharded(device, "f32", new Float32Array(16), 4, 4, [2]);
    refuse({ layout: "tn", a: t(4, 2), b: weight, out: t(2, 4) }, /one shard/);
  });
});
