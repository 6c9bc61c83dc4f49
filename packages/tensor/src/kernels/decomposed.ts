// Kernels over the columns of a matrix with a number for each: what weight-decomposed projections are made of.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";

const LANES = 64;

/** `main` that runs `body` for every index `i` of `p.n`. */
function overElements(body: string): string {
  return /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let i = group * ${LANES}u + lane;
      if (i >= p.n) { return; }
      ${body}
    }`;
}

/**
 * x, y [rows, stride] → y[row, first + c] = factor[c] · x[row, first + c] [+ bias[c]] for c < cols, n = rows · cols. `scaled`
 * 0 leaves the factor out, `biased` 0 the bias.
 */
export const scaleColumns: Kernel<
  "n" | "cols" | "stride" | "first" | "scaled" | "biased",
  "x" | "factor" | "bias",
  never,
  "y"
> = defineKernel({
  label: "scale_columns",
  params: { n: "u32", cols: "u32", stride: "u32", first: "u32", scaled: "u32", biased: "u32" },
  reads: { x: "f32", factor: "f32", bias: "f32" },
  updates: { y: "f32" },
  workgroups: ({ n }) => Math.ceil(n / LANES),
  wgsl: () =>
    overElements(/* wgsl */ `
      let c = i % p.cols;
      let at = (i / p.cols) * p.stride + p.first + c;
      var value = x[at];
      if (p.scaled != 0u) { value *= factor[c]; }
      if (p.biased != 0u) { value += bias[c]; }
      y[at] = value;`),
});

/**
 * The factor of each output of a weight-decomposed layer: magnitude / ‖W + s·B·A‖ per row, from squared [n] = ‖W‖²,
 * b [n, rank], wa [rank, n] = A·Wᵀ and baa [n, rank] = B·A·Aᵀ, since ‖W + sBA‖² = ‖W‖² + 2s·b·wa + s²·b·baa.
 */
export const decomposedFactor: Kernel<
  "n" | "rank" | "scale",
  "magnitude" | "squared" | "b" | "wa" | "baa",
  "factor" | "norm",
  never
> = defineKernel({
  label: "decomposed_factor",
  params: { n: "u32", rank: "u32", scale: "f32" },
  reads: { magnitude: "f32", squared: "f32", b: "f32", wa: "f32", baa: "f32" },
  writes: { factor: "f32", norm: "f32" },
  workgroups: ({ n }) => Math.ceil(n / LANES),
  wgsl: () =>
    overElements(/* wgsl */ `
      var sum = squared[i];
      for (var k = 0u; k < p.rank; k++) {
        sum += p.scale * b[i * p.rank + k] * (2.0 * wa[k * p.n + i] + p.scale * baa[i * p.rank + k]);
      }
      let length = sqrt(sum);
      norm[i] = length;
      factor[i] = magnitude[i] / length;`),
});

/** x [… first … first + n], y [n] → out = x / y, added to what out holds if `accumulate`. */
export const divideInto: Kernel<"n" | "first" | "accumulate", "x" | "y", never, "out"> = defineKernel({
  label: "divide_into",
  params: { n: "u32", first: "u32", accumulate: "u32" },
  reads: { x: "f32", y: "f32" },
  updates: { out: "f32" },
  workgroups: ({ n }) => Math.ceil(n / LANES),
  wgsl: () =>
    overElements(/* wgsl */ `
      let value = x[p.first + i] / y[i];
      if (p.accumulate != 0u) { out[i] += value; } else { out[i] = value; }`),
});
