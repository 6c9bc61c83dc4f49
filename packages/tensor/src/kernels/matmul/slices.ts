// Second pass of a matmul whose depth was cut into slices: adds the partial results in slice order, so that the
// sum is the same in every run, and finishes as the first pass would have.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../../kernel.ts";
import type { Kernel } from "../../kernel.ts";
import { ACCUMULATE, ADD_BIAS } from "./shared.ts";

const LANES = 64;

/** partial [slices, rows, cols] → out = scale · Σ partial (+ bias [cols]) (+ out). */
export const addSlices: Kernel<
  "rows" | "cols" | "slices" | "out_start" | "out_stride" | "flags" | "scale",
  "partial" | "bias",
  never,
  "out"
> = defineKernel({
  label: "matmul_add_slices",
  params: {
    rows: "u32",
    cols: "u32",
    slices: "u32",
    out_start: "u32",
    out_stride: "u32",
    flags: "u32",
    scale: "f32",
  },
  reads: { partial: "f32", bias: "f32" },
  updates: { out: "f32" },
  workgroups: ({ rows, cols }) => Math.ceil((rows * cols) / LANES),
  cost: ({ rows, cols, slices, flags }) => ({
    flops: rows * cols * slices,
    bytes: 4 * rows * cols * (slices + ((flags & ACCUMULATE) === 0 ? 1 : 2)),
  }),
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let size = p.rows * p.cols;
      let i = group * ${LANES}u + lane;
      if (i >= size) { return; }
      var sum = 0.0;
      for (var slice = 0u; slice < p.slices; slice++) { sum += partial[slice * size + i]; }
      let row = i / p.cols;
      let col = i % p.cols;
      let at = p.out_start + row * p.out_stride + col;
      var v = p.scale * sum;
      if ((p.flags & ${ADD_BIAS}u) != 0u) { v += bias[p.out_start + col]; }
      if ((p.flags & ${ACCUMULATE}u) != 0u) { v += out[at]; }
      out[at] = v;
    }`,
});
