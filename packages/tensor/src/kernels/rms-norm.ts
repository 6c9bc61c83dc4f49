// RMSNorm, forward and backward. One workgroup owns one row, so every sum runs in a fixed order and two runs on
// one adapter agree bit for bit. All f32.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { reduceOverLanes, rowLanes } from "./lanes.ts";

/** x [rows, dim], weight [dim] → y [rows, dim], rstd [rows] = 1 / sqrt(mean(x²) + eps), which backward reuses. */
export const rmsNormForward: Kernel<"rows" | "dim" | "eps", "x" | "weight", "y" | "rstd", never> = defineKernel({
  label: "rms_norm_forward",
  params: { rows: "u32", dim: "u32", eps: "f32" },
  reads: { x: "f32", weight: "f32" },
  writes: { y: "f32", rstd: "f32" },
  workgroups: ({ rows }) => rows,
  wgsl: (_, facts) => /* wgsl */ `
    ${reduceOverLanes(facts)}
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.rows) { return; }
      let start = group * p.dim;
      var squares = 0.0;
      for (var i = lane; i < p.dim; i += ${rowLanes(facts)}u) { let v = x[start + i]; squares += v * v; }
      let scale = inverseSqrt(sum_over_lanes(lane, squares) / f32(p.dim) + p.eps);
      for (var i = lane; i < p.dim; i += ${rowLanes(facts)}u) { y[start + i] = x[start + i] * scale * weight[i]; }
      if (lane == 0u) { rstd[group] = scale; }
    }
  `,
});

/**
 * dy [rows, dim], x [rows, dim], weight [dim], rstd [rows] → dx [rows, dim]:
 * dx = rstd · (w∘dy − x̂ · mean(w∘dy∘x̂)), x̂ = x · rstd.
 */
export const rmsNormBackwardX: Kernel<"rows" | "dim", "dy" | "x" | "weight" | "rstd", "dx", never> = defineKernel({
  label: "rms_norm_backward_x",
  params: { rows: "u32", dim: "u32" },
  reads: { dy: "f32", x: "f32", weight: "f32", rstd: "f32" },
  writes: { dx: "f32" },
  workgroups: ({ rows }) => rows,
  wgsl: (_, facts) => /* wgsl */ `
    ${reduceOverLanes(facts)}
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.rows) { return; }
      let start = group * p.dim;
      let scale = rstd[group];
      var dot = 0.0;
      for (var i = lane; i < p.dim; i += ${rowLanes(facts)}u) { dot += dy[start + i] * weight[i] * x[start + i]; }
      let mean = sum_over_lanes(lane, dot) * scale * scale / f32(p.dim);
      for (var i = lane; i < p.dim; i += ${rowLanes(facts)}u) {
        dx[start + i] = scale * (dy[start + i] * weight[i] - x[start + i] * mean);
      }
    }
  `,
});

/** dy, x [rows, dim], rstd [rows] → dweight [dim] = Σ_rows dy·x·rstd; one lane owns one column. */
export const rmsNormBackwardWeight: Kernel<"rows" | "dim", "dy" | "x" | "rstd", "dweight", never> = defineKernel({
  label: "rms_norm_backward_weight",
  params: { rows: "u32", dim: "u32" },
  reads: { dy: "f32", x: "f32", rstd: "f32" },
  writes: { dweight: "f32" },
  workgroups: ({ dim }) => Math.ceil(dim / 64),
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let i = group * 64u + lane;
      if (i >= p.dim) { return; }
      var sum = 0.0;
      for (var row = 0u; row < p.rows; row++) { sum += dy[row * p.dim + i] * x[row * p.dim + i] * rstd[row]; }
      dweight[i] = sum;
    }
  `,
});
