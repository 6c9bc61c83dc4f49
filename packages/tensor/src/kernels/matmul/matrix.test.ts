// Mixed compute. Where the device offers matrix units (a GPU, or lavapipe of Mesa 26), they are checked; everywhere, that
// what is mixed runs as f32 does where there are none.
import { openDevice } from "@tunesmith/node";
import { matmul as reference, seededNormals } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { f32, values } from "../../../../../tests/support/device.ts";
import type { DeviceFacts, MatrixShape } from "../../facts.ts";
import { assembleWgsl } from "../../kernel.ts";
import type { Kernel } from "../../kernel.ts";
import { empty, upload } from "../../tensor.ts";
import { matmul } from "./matmul.ts";
import type { MatmulArgs } from "./matmul.ts";
import { matmulMatrix } from "./matrix.ts";
import { candidatesOf } from "./variants.ts";

const device = await openDevice({
  validate: true,
  poison: true,
  compute: "mixed",
  facts: { maxWorkgroups: 3 }, // more fold to two dimensions
});
const { facts } = device;
const offered = facts.matrices.some((shape) => shape.component === "f16");
if (!offered) console.log(`not run: tests of matrix units, which ${facts.description} does not offer`);

const layoutName = { nn: "NN", nt: "NT", tn: "TN" } as const;
const shapesOf = (layout: MatmulArgs["layout"], m: number, n: number, k: number): { a: number[]; b: number[] } => ({
  a: layout === "tn" ? [k, m] : [m, k],
  b: layout === "nt" ? [n, k] : [k, n],
});

/** Numbers that f16 and bf16 hold exactly: then products of matrix units are exact, and only sums round. */
function shortNumbers(n: number, seed: number): Float64Array {
  return seededNormals(n, seed).map((v) => Math.round(v * 16) / 16);
}

/** Their words in f16. */
function halves(numbers: Float64Array): Uint16Array {
  return Uint16Array.from(numbers, (v) => {
    if (v === 0) return 0;
    const exponent = Math.floor(Math.log2(Math.abs(v)));
    return (v < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | ((Math.abs(v) / 2 ** exponent - 1) * 1024);
  });
}

/** max |got − want| / max |want| */
function relativeError(got: Float64Array, want: Float64Array): number {
  const largest = want.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  return Math.max(...want.map((v, i) => Math.abs(got[i]! - v))) / largest;
}

/** 70 × 132 × 68 of normal numbers. */
async function errorOfNormals(name?: string): Promise<number> {
  const [m, n, k] = [70, 132, 68];
  const [a, b] = [seededNormals(m * k, 1), seededNormals(n * k, 2)];
  const [left, right, out] = [f32(device, [m, k], a), f32(device, [n, k], b), empty(device, [m, n])];
  const run = (): void => matmul({ layout: "nt", a: left, b: right, out });
  if (name) device.kernelChoices.trying(name, run);
  else run();
  return relativeError(await values(out), reference(a, b, { m, n, k }, "NT"));
}

test("a software device computes in f32 what may be mixed: that is faster there", async () => {
  expect(await errorOfNormals()).toBeLessThan(1e-6);
  expect(Object.keys(device.kernelChoices.export())).toEqual(["nt f32 128x256x128 mixed"]);
});

test("f32 compute never takes units that round operands", () => {
  const product = { left: "k", right: "k", format: "f16", rows: 512, cols: 512, depth: 512 } as const;
  const gpu = { ...facts, software: false, subgroups: false };
  const units: MatrixShape[] = [{ component: "f16", m: 16, n: 16, k: 16 }];
  const names = (matrices: MatrixShape[], compute: "f32" | "mixed"): string[] =>
    candidatesOf({ ...gpu, matrices }, product, compute).filter((name) => name.startsWith("matrix"));
  expect(names(units, "f32")).toEqual([]);
  expect(names(units, "mixed")).toEqual(["matrix-1x2", "matrix-2x4"]);
  expect(names([{ component: "f32", m: 8, n: 8, k: 8 }], "f32")).toEqual(["matrix-1x2", "matrix-2x4"]);
});

describe.each(offered ? ["matrix-1x2", "matrix-2x4"] : [])("%s", (name) => {
  // beside every tile, in lines of fours; the same in other lines, of several pieces; slices of the depth
  test.each([
    ["nn", 70, 132, 68],
    ["nt", 70, 132, 68],
    ["tn", 70, 132, 68],
    ["nn", 65, 67, 99],
    ["nt", 65, 67, 99],
    ["tn", 65, 67, 99],
    ["nt", 40, 36, 1100],
  ] as const)("%s %i × %i × %i, f32 and f16", async (layout, m, n, k) => {
    const [a, b] = [shortNumbers(m * k, 1), shortNumbers(k * n, 2)];
    const shape = shapesOf(layout, m, n, k);
    const want = reference(a, b, { m, n, k }, layoutName[layout]);
    for (const right of [f32(device, shape.b, b), upload(device, shape.b, "f16", halves(b))]) {
      const out = empty(device, [m, n]);
      const left = f32(device, shape.a, a);
      device.kernelChoices.trying(name, () => matmul({ layout, a: left, b: right, out }));
      expect.soft(relativeError(await values(out), want), right.dtype).toBeLessThan(1e-6);
    }
  });

  test.each(["nt", "nn"] as const)("a second product, scale, bias and accumulation, %s", async (layout) => {
    const [m, n, k, rank] = [70, 132, 68, 8];
    const size = shapesOf(layout, m, n, k);
    const [a, b, a2, b2, bias, before] = [m * k, k * n, m * rank, rank * n, n, m * n].map((count, i) =>
      shortNumbers(count, i),
    ) as [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];
    const second = reference(a2, b2, { m, n, k: rank }, "NT");
    const want = reference(a, b, { m, n, k }, layoutName[layout]).map(
      (v, i) => 0.5 * (v + second[i]!) + bias[i % n]! + before[i]!,
    );
    const out = f32(device, [m, n], before);
    const args: MatmulArgs = {
      layout,
      a: f32(device, size.a, a),
      b: f32(device, size.b, b),
      plus: { layout: "nt", a: f32(device, [m, rank], a2), b: f32(device, [n, rank], b2) }, // apart where layouts differ
      out,
      bias: f32(device, [n], bias),
      scale: 0.5,
      accumulate: true,
    };
    device.kernelChoices.trying(name, () => matmul(args));
    expect(relativeError(await values(out), want)).toBeLessThan(1e-6);
  });

  test("block-diagonal operands", async () => {
    const blocks = { ends: [37, 71, 132], width: 16 };
    const [rows, ranks, outs] = [70, 48, 132];
    const blockOf = (row: number): number => blocks.ends.findIndex((end) => row < end);
    const [y, u, b] = [rows * outs, rows * ranks, outs * 16].map((count, i) => shortNumbers(count, i)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const factor = new Float64Array(outs * ranks);
    for (let i = 0; i < b.length; i++) {
      const row = Math.floor(i / 16);
      factor[row * ranks + blockOf(row) * 16 + (i % 16)] = b[i]!;
    }
    const [dY, stacked] = [f32(device, [rows, outs], y), f32(device, [outs, 16], b)];
    const [v, dB] = [empty(device, [rows, ranks]), empty(device, [outs, 16])];
    device.kernelChoices.trying(name, () => {
      matmul({ layout: "nn", a: dY, b: stacked, out: v, diagonal: { operand: "b", blocks } });
      const gradient = { layout: "tn", a: dY, b: f32(device, [rows, ranks], u), out: dB } as const;
      matmul({ ...gradient, diagonal: { operand: "out", blocks } });
    });
    const full = reference(y, u, { m: outs, n: ranks, k: rows }, "TN");
    const wantB = b.map((_, i) => {
      const row = Math.floor(i / 16);
      return full[row * ranks + blockOf(row) * 16 + (i % 16)]!;
    });
    expect(relativeError(await values(v), reference(y, factor, { m: rows, n: ranks, k: outs }, "NN"))).toBeLessThan(
      1e-6,
    );
    expect(relativeError(await values(dB), wantB)).toBeLessThan(1e-6);
    const out = empty(device, [rows, outs]);
    const product = { layout: "nt", a: f32(device, [rows, 16], y.slice(0, rows * 16)), b: stacked, out } as const;
    const plus = { layout: "nt", a: f32(device, [rows, ranks], u), b: stacked } as const;
    device.kernelChoices.trying(name, () => matmul({ ...product, plus, diagonal: { operand: "plus.b", blocks } }));
    const first = reference(y.slice(0, rows * 16), b, { m: rows, n: outs, k: 16 }, "NT");
    const second = reference(u, factor, { m: rows, n: outs, k: ranks }, "NT");
    const want = first.map((value, i) => value + second[i]!);
    expect(relativeError(await values(out), want)).toBeLessThan(1e-6);
  });

  test("rounds operands to f16, and nothing else", async () => {
    const error = await errorOfNormals(name);
    expect(error).toBeGreaterThan(1e-6);
    expect(error).toBeLessThan(1e-3);
  });

  // fragments and subgroups of NVIDIA, Intel, AMD and Apple: this device cannot run them, its compiler can read them
  test.each([
    [{ component: "f16", m: 16, n: 16, k: 16 }, 32, 32],
    [{ component: "f16", m: 8, n: 16, k: 16 }, 8, 32],
    [{ component: "f16", m: 16, n: 16, k: 16 }, 32, 64],
    [{ component: "f32", m: 8, n: 8, k: 8 }, 32, 32],
  ] as const)(
    "is valid for fragments %j and subgroups of %i to %i",
    async (shape, subgroupMinSize, subgroupMaxSize) => {
      const other: DeviceFacts = { ...facts, matrices: [shape], subgroupMinSize, subgroupMaxSize };
      const [down, across] = name === "matrix-1x2" ? [1, 2] : [2, 4];
      const access = { leftFours: true, rightFours: true, outFours: true, transposed: false, joined: "k" } as const;
      const operands = { left: "k", right: "k", format: "bf16", component: shape.component } as const;
      const spec = { ...operands, ...access, tile: 4 * down * shape.m, across };
      const code = assembleWgsl(matmulMatrix as unknown as Kernel, spec, other);
      device.gpu.pushErrorScope("validation");
      device.gpu.createShaderModule({ code });
      expect((await device.gpu.popErrorScope())?.message).toBeUndefined();
    },
  );
});
