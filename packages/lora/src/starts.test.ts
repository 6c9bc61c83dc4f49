import { openSafetensors, type TensorSource, writeSafetensors } from "@tunesmith/safetensors";
import { maxAbsError, memoryFiles, seededNormals } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { peftNames } from "./adapter.ts";
import { dequantizeFourBit, quantizeFourBit } from "./four-bit/quantize.ts";
import { matrix, type Matrix, multiply, scaleColumns, transpose } from "./linalg/matrix.ts";
import { jacobiSvd } from "./linalg/svd.ts";
import { type ComputedStart, computeStart, type StartOptions } from "./starts.ts";

const R = 4;
const SCALE = 2; // alpha 8
const sizes = new Map([
  ["tall", { in: 24, out: 40 }],
  ["wide", { in: 40, out: 16 }],
  ["turned", { in: 40, out: 16, layout: "in_out" as const }], // Conv1D
]);
const weights = new Map(
  [...sizes].map(([path, { in: ins, out }], i) => [
    path,
    matrix(out, ins, Float32Array.from(seededNormals(out * ins, i))),
  ]),
);
weights.set("turned", weights.get("wide")!);
const quantization = { type: "nf4", blockSize: 64, doubleQuant: true } as const;

async function base(): Promise<TensorSource> {
  const files = memoryFiles();
  const tensors = [...weights].map(([path, weight]) => {
    const { rows, cols, data } = path === "turned" ? transpose(weight) : weight;
    return [
      `${path}.weight`,
      { dtype: "F32", shape: [rows, cols], data: new Uint8Array(Float32Array.from(data).buffer) },
    ] as const;
  });
  await writeSafetensors(files, "m", new Map(tensors));
  return openSafetensors(files, "m");
}

async function start(
  kind: ComputedStart,
  more: Partial<StartOptions> = {},
): Promise<(path: string) => { a: Matrix; b: Matrix; product: Matrix } | undefined> {
  const config = { r: R, alpha: SCALE * R, useRslora: false, targetModules: "all-linear" };
  const values = await computeStart(kind, await base(), { config, targets: [...sizes.keys()], sizes, ...more });
  return (path) => {
    const { in: ins, out } = sizes.get(path)!;
    const names = peftNames(path);
    if (!values.has(names.a)) return undefined;
    const [a, b] = [matrix(R, ins, values.get(names.a)), matrix(out, R, values.get(names.b))];
    const { data, ...shape } = multiply(b, a);
    return { a, b, product: { ...shape, data: data.map((value) => SCALE * value) } };
  };
}

/** The best approximation of rank R (Eckart and Young), by the whole decomposition. */
function best(x: Matrix): Matrix {
  const { u, s, v } = jacobiSvd(x);
  return multiply(
    scaleColumns(
      u,
      s.map((value, i) => (i < R ? value : 0)),
    ),
    transpose(v),
  );
}

const squares = ({ rows, cols, data }: Matrix): number[] =>
  Array.from({ length: rows }, (_, i) => data.subarray(i * cols, (i + 1) * cols).reduce((sum, x) => sum + x * x, 0));

describe.each([...sizes.keys()])("%s", (path) => {
  const weight = weights.get(path)!;
  test("pissa: the best approximation of the weights, its values shared evenly", async () => {
    const { a, b, product } = (await start("pissa"))(path)!;
    expect(maxAbsError(product.data, best(weight).data)).toBeLessThan(1e-5);
    expect(maxAbsError(squares(a), squares(transpose(b)))).toBeLessThan(1e-5);
  });
  test("olora: B orthonormal, A triangular, the weights' first columns wholly in the adapter", async () => {
    const { a, b } = (await start("olora"))(path)!;
    const identity = Float64Array.from({ length: R * R }, (_, i) => (i % (R + 1) === 0 ? 1 : 0));
    expect(maxAbsError(multiply(transpose(b), b).data, identity)).toBeLessThan(1e-6);
    const product = multiply(b, a);
    for (let i = 0; i < R; i++)
      for (let j = 0; j < i; j++) expect(Math.abs(a.data[i * a.cols + j]!)).toBeLessThan(1e-6);
    for (let i = 0; i < weight.rows; i++)
      for (let j = 0; j < R; j++)
        expect(Math.abs(product.data[i * a.cols + j]! - weight.data[i * a.cols + j]!)).toBeLessThan(1e-5);
    // what is left is orthogonal to B
    const rest = { ...weight, data: weight.data.map((value, i) => value - product.data[i]!) };
    expect(maxAbsError(multiply(transpose(b), rest).data, new Float64Array(R * a.cols))).toBeLessThan(1e-5);
  });
  test("loftq: the best approximation of what quantizing loses; modules that stay plain have no start", async () => {
    const found = (await start("loftq", { quantize: (at) => (at === path ? quantization : undefined) }))(path)!;
    const values = Float32Array.from(weight.data);
    const stored = dequantizeFourBit(quantizeFourBit(values, quantization, path), "nf4", values.length);
    const lost = { ...weight, data: weight.data.map((value, i) => value - stored[i]!) };
    expect(maxAbsError(found.product.data, best(lost).data)).toBeLessThan(1e-5);
    expect((await start("loftq", { quantize: () => undefined }))(path)).toBeUndefined();
  });
});

test.each<[string, Partial<StartOptions>, string]>([
  [
    "a rank above the sizes",
    { config: { r: 17, alpha: 1, useRslora: false, targetModules: "x" } },
    "ADAPTER_UNSUPPORTED",
  ],
  [
    "a layer that is not there",
    { targets: ["other"], sizes: new Map([["other", { in: 2, out: 2 }]]) },
    "MERGE_UNSUPPORTED",
  ],
])("%s is refused", async (_, more, code) => {
  await expect(start("pissa", more)).rejects.toMatchObject({ code });
});
