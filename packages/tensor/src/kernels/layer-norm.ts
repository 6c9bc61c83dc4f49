// LayerNorm, forward and backward. One workgroup owns one row, so every sum runs in a fixed order. All f32.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { reduceOverLanes, rowLanes } from "./lanes.ts";

/**
 * x [rows, dim], weight, bias [dim] → y [rows, dim], stats [rows, 2] = (mean, 1 / sqrt(variance + eps)), which backward
 * reuses. has_bias 0 leaves the bias out, whatever is bound.
 */
export const layerNormForward: Kernel<
  "rows" | "dim" | "has_bias" | "eps",
  "x" | "weight" | "bias",
  "y" | "stats",
  never
> = defineKernel({
  label: "layer_norm_forward",
  params: { rows: "u32", dim: "u32", has_bias: "u32", eps: "f32" },
  reads: { x: "f32", weight: "f32", bias: "f32" },
  writes: { y: "f32", stats: "f32" },
  workgroups: ({ rows }) => rows,
  wgsl: (_, facts) => /* wgsl */ `
    ${reduceOverLanes(facts)}
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.rows) { return; }
      let start = group * p.dim;
      var sum = 0.0;
      for (var i = lane; i < p.dim; i += ${rowLanes(facts)}u) { sum += x[start + i]; }
      let mean = sum_over_lanes(lane, sum) / f32(p.dim);
      // around the mean, not E[x²] − mean²: that cancels where the mean is large
      var squares = 0.0;
      for (var i = lane; i < p.dim; i += ${rowLanes(facts)}u) { let v = x[start + i] - mean; squares += v * v; }
      let scale = inverseSqrt(sum_over_lanes(lane, squares) / f32(p.dim) + p.eps);
      for (var i = lane; i < p.dim; i += ${rowLanes(facts)}u) {
        y[start + i] = (x[start + i] - mean) * scale * weight[i] + select(0.0, bias[i], p.has_bias != 0u);
      }
      if (lane == 0u) { stats[2u * group] = mean; stats[2u * group + 1u] = scale; }
    }`,
});

/**
 * dy, x [rows, dim], weight [dim], stats [rows, 2] → dx [rows, dim]:
 * dx = scale · (w∘dy − mean(w∘dy) − x̂ · mean(w∘dy∘x̂)), x̂ = (x − mean) · scale.
 */
export const layerNormBackwardX: Kernel<"rows" | "dim", "dy" | "x" | "weight" | "stats", "dx", never> = defineKernel({
  label: "layer_norm_backward_x",
  params: { rows: "u32", dim: "u32" },
  reads: { dy: "f32", x: "f32", weight: "f32", stats: "f32" },
  writes: { dx: "f32" },
  workgroups: ({ rows }) => rows,
  wgsl: (_, facts) => /* wgsl */ `
    ${reduceOverLanes(facts)}
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.rows) { return; }
      let start = group * p.dim;
      let mean = stats[2u * group];
      let scale = stats[2u * group + 1u];
      var sum = 0.0;
      var dot = 0.0;
      for (var i = lane; i < p.dim; i += ${rowLanes(facts)}u) {
        let g = dy[start + i] * weight[i];
        sum += g;
        dot += g * (x[start + i] - mean) * scale;
      }
      let mean_g = sum_over_lanes(lane, sum) / f32(p.dim);
      let mean_dot = sum_over_lanes(lane, dot) / f32(p.dim);
      for (var i = lane; i < p.dim; i += ${rowLanes(facts)}u) {
        let normed = (x[start + i] - mean) * scale;
        dx[start + i] = scale * (dy[start + i] * weight[i] - mean_g - normed * mean_dot);
      }
    }`,
});

/** dy, x [rows, dim], stats [rows, 2] → products [rows, dim] = dy∘x̂, whose column sums are dweight. */
export const layerNormBackwardWeight: Kernel<"rows" | "dim", "dy" | "x" | "stats", "products", never> = defineKernel({
  label: "layer_norm_backward_weight",
  params: { rows: "u32", dim: "u32" },
  reads: { dy: "f32", x: "f32", stats: "f32" },
  writes: { products: "f32" },
  workgroups: ({ rows }) => rows,
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.rows) { return; }
      let start = group * p.dim;
      for (var i = lane; i < p.dim; i += 64u) {
        products[start + i] = dy[start + i] * (x[start + i] - stats[2u * group]) * stats[2u * group + 1u];
      }
    }`,
});
