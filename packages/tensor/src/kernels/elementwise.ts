// Elementwise kernels over flat f32 arrays, four elements per load and up to four loads per lane. Buffers are padded
// to 16 bytes, so the last vec4 may run into padding but never past the binding.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";

const LANES = 64;
const VECTORS_PER_LANE = 4;

/** Workgroups for `n` elements. */
export function groups(n: number): number {
  return Math.ceil(Math.ceil(n / 4) / (LANES * VECTORS_PER_LANE));
}

/**
 * `main` that runs `body` for every vec4 index `i` of `p.n` elements.
 * @param width - vectors per row, an expression that is the same everywhere: `body` may then use `row`, the row of `i`. One division per
 *   lane instead of one per vector: an eighth of such a pass on software devices
 */
export function overVectors(body: string, width?: string): string {
  const rows =
    width === undefined
      ? { start: "", next: "" }
      : {
          start: `
      var row = first / ${width};
      var column = first - row * ${width};
      let rows_on = ${LANES}u / ${width};
      let columns_on = ${LANES}u - rows_on * ${width};`,
          next: `
        row += rows_on;
        column += columns_on;
        if (column >= ${width}) { column -= ${width}; row++; }`,
        };
  return /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      // a trip count that drivers cannot prove: unrolled, a kernel takes three times as long to compile
      let end = min((p.n + 3u) / 4u, (group + 1u) * ${LANES * VECTORS_PER_LANE}u);
      let first = group * ${LANES * VECTORS_PER_LANE}u + lane;${rows.start}
      for (var i = first; i < end; i += ${LANES}u) { ${body}${rows.next} }
    }`;
}

/** WGSL: the logistic function from exp(−|x|), which never overflows; WGSL would leave that undefined. */
export const SIGMOID = /* wgsl */ `
  fn sigmoid(x: vec4f) -> vec4f {
    let e = exp(-abs(x));
    return select(e, vec4f(1.0), x >= vec4f(0.0)) / (1.0 + e);
  }`;

/** a, b [n] → out = scale_a · a + scale_b · b. */
export const addScaled: Kernel<"n" | "scale_a" | "scale_b", "a" | "b", "out", never> = defineKernel({
  label: "add_scaled",
  params: { n: "u32", scale_a: "f32", scale_b: "f32" },
  reads: { a: "vec4f", b: "vec4f" },
  writes: { out: "vec4f" },
  inPlace: { out: ["a", "b"] },
  workgroups: ({ n }) => groups(n),
  wgsl: () => overVectors("out[i] = p.scale_a * a[i] + p.scale_b * b[i];"),
  cost: ({ n }) => ({ flops: 3 * n }),
});

/** a, b [n] → out = a · b. */
export const multiply: Kernel<"n", "a" | "b", "out", never> = defineKernel({
  label: "multiply",
  params: { n: "u32" },
  reads: { a: "vec4f", b: "vec4f" },
  writes: { out: "vec4f" },
  inPlace: { out: ["a", "b"] },
  workgroups: ({ n }) => groups(n),
  wgsl: () => overVectors("out[i] = a[i] * b[i];"),
  cost: ({ n }) => ({ flops: n }),
});

/** sum += x, both [n]. */
export const accumulate: Kernel<"n", "x", never, "sum"> = defineKernel({
  label: "accumulate",
  params: { n: "u32" },
  reads: { x: "vec4f" },
  updates: { sum: "vec4f" },
  workgroups: ({ n }) => groups(n),
  wgsl: () => overVectors("sum[i] += x[i];"),
  cost: ({ n }) => ({ flops: n }),
});

/** out [n] = value. */
export const fill: Kernel<"n" | "value", never, "out", never> = defineKernel({
  label: "fill",
  params: { n: "u32", value: "f32" },
  reads: {},
  writes: { out: "vec4f" },
  workgroups: ({ n }) => groups(n),
  wgsl: () => overVectors("out[i] = vec4f(p.value);"),
});

/** x [n] → out = factor · x. */
export const scaleBy: Kernel<"n" | "factor", "x", "out", never> = defineKernel({
  label: "scale_by",
  params: { n: "u32", factor: "f32" },
  reads: { x: "vec4f" },
  writes: { out: "vec4f" },
  inPlace: { out: ["x"] },
  workgroups: ({ n }) => groups(n),
  wgsl: () => overVectors("out[i] = p.factor * x[i];"),
  cost: ({ n }) => ({ flops: n }),
});

/** x [n], factor [1] → out = scale · factor · x; the factor is data. */
export const scaleByScalar: Kernel<"n" | "scale", "x" | "factor", "out", never> = defineKernel({
  label: "scale_by_scalar",
  params: { n: "u32", scale: "f32" },
  reads: { x: "vec4f", factor: "f32" },
  writes: { out: "vec4f" },
  inPlace: { out: ["x"] },
  workgroups: ({ n }) => groups(n),
  wgsl: () => overVectors("out[i] = (p.scale * factor[0]) * x[i];"),
  cost: ({ n }) => ({ flops: n }),
});
