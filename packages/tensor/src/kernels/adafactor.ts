// Adafactor: second moments of a matrix kept as one number per row and one per column. Everything works on a slice of consecutive
// rows [count, cols] of a parameter [rows, cols]; a vector is a matrix of one column.
// Shazeer and Stern 2018, https://arxiv.org/abs/1804.04235; the order of operations is that of transformers' Adafactor.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { reduceOverLanes, rowLanes } from "./lanes.ts";

/** ε₁: added to squares, so that no factor is 0 */
const EPS = "1e-30";
/** rows that one lane sums for a column */
const BLOCK = 256;
const LANES = 64;

/** Blocks of rows of a slice, see `adafactorColumnSums`. */
export function rowBlocks(count: number): number {
  return Math.ceil(count / BLOCK);
}

/** Scalars of a group are (1 − lr · decay, lr, rate of the moments, undoes the loss scale); clip is that of `clipFactor`. */
const READS = { gradients: "f32", clip: "f32", scalars: "vec4f" } as const;

/**
 * rowMoments[first + r] moves to the mean of row r of (clipped gradient)² + ε by the share s.z. Does nothing while halted.
 */
export const adafactorRows: Kernel<
  "count" | "cols" | "first" | "group",
  "gradients" | "clip" | "scalars",
  never,
  "rowMoments"
> = defineKernel({
  label: "adafactor_rows",
  params: { count: "u32", cols: "u32", first: "u32", group: "u32" },
  reads: READS,
  updates: { rowMoments: "f32" },
  workgroups: ({ count }) => count,
  wgsl: (_, facts) => /* wgsl */ `
    ${reduceOverLanes(facts)}
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.count || clip[2] != 0.0) { return; }
      var squares = 0.0;
      for (var j = lane; j < p.cols; j += ${rowLanes(facts)}u) {
        let g = gradients[group * p.cols + j] * clip[1];
        squares += g * g;
      }
      let mean = sum_over_lanes(lane, squares) / f32(p.cols) + ${EPS};
      if (lane == 0u) {
        let share = scalars[p.group].z;
        let at = p.first + group;
        rowMoments[at] = (1.0 - share) * rowMoments[at] + share * mean;
      }
    }`,
  cost: ({ count, cols }) => ({ flops: 3 * count * cols, bytes: 4 * count * cols }),
});

/** sums[first + block, j] = Σ (clipped gradient)² of column j over a block of rows. */
export const adafactorColumnSums: Kernel<"count" | "cols" | "first", "gradients" | "clip", "sums", never> =
  defineKernel({
    label: "adafactor_column_sums",
    params: { count: "u32", cols: "u32", first: "u32" },
    reads: { gradients: "f32", clip: "f32" },
    writes: { sums: "f32" },
    workgroups: ({ count, cols }) => Math.ceil(cols / LANES) * rowBlocks(count),
    wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let across = (p.cols + ${LANES - 1}u) / ${LANES}u;
      let block = group / across;
      let j = (group % across) * ${LANES}u + lane;
      if (block * ${BLOCK}u >= p.count || j >= p.cols) { return; }
      var sum = 0.0;
      let end = min(p.count, (block + 1u) * ${BLOCK}u);
      for (var r = block * ${BLOCK}u; r < end; r++) {
        let g = gradients[r * p.cols + j] * clip[1];
        sum += g * g;
      }
      sums[(p.first + block) * p.cols + j] = sum;
    }`,
    cost: ({ count, cols }) => ({ flops: 3 * count * cols, bytes: 4 * count * cols }),
  });

/** columnMoments[j] moves to Σ sums[·, j] / rows + ε by the share s.z. Does nothing while halted. */
export const adafactorColumns: Kernel<
  "blocks" | "rows" | "cols" | "group",
  "sums" | "clip" | "scalars",
  never,
  "columnMoments"
> = defineKernel({
  label: "adafactor_columns",
  params: { blocks: "u32", rows: "u32", cols: "u32", group: "u32" },
  reads: { sums: "f32", clip: "f32", scalars: "vec4f" },
  updates: { columnMoments: "f32" },
  workgroups: ({ cols }) => Math.ceil(cols / LANES),
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let j = group * ${LANES}u + lane;
      if (j >= p.cols || clip[2] != 0.0) { return; }
      var sum = 0.0;
      for (var block = 0u; block < p.blocks; block++) { sum += sums[block * p.cols + j]; }
      let share = scalars[p.group].z;
      columnMoments[j] = (1.0 - share) * columnMoments[j] + share * (sum / f32(p.rows) + ${EPS});
    }`,
});

/** WGSL: the update of an element before its clipping, gradient / √(row · column / mean of rows). */
const UPDATE = /* wgsl */ `
    fn scaled(i: u32, row_factor: f32, j: u32) -> f32 {
      return ((gradients[i] * clip[1]) * row_factor) * (1.0 / sqrt(columnMoments[j]));
    }
    fn factor_of_row(row: u32) -> f32 { return 1.0 / sqrt(rowMoments[row] / meanRow[0]); }`;

/** squares[first + r] = Σ update² over row r. meanRow [1]: mean of rowMoments. */
export const adafactorSquares: Kernel<
  "count" | "cols" | "first",
  "gradients" | "clip" | "rowMoments" | "columnMoments" | "meanRow",
  "squares",
  never
> = defineKernel({
  label: "adafactor_squares",
  params: { count: "u32", cols: "u32", first: "u32" },
  reads: { gradients: "f32", clip: "f32", rowMoments: "f32", columnMoments: "f32", meanRow: "f32" },
  writes: { squares: "f32" },
  workgroups: ({ count }) => count,
  wgsl: (_, facts) => /* wgsl */ `
    ${reduceOverLanes(facts)}
    ${UPDATE}
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.count) { return; }
      let row_factor = factor_of_row(p.first + group);
      var sum = 0.0;
      for (var j = lane; j < p.cols; j += ${rowLanes(facts)}u) {
        let u = scaled(group * p.cols + j, row_factor, j);
        sum += u * u;
      }
      let total = sum_over_lanes(lane, sum);
      if (lane == 0u) { squares[p.first + group] = total; }
    }`,
  cost: ({ count, cols }) => ({ flops: 6 * count * cols, bytes: 4 * count * cols }),
});

/**
 * x = x · (1 − lr · decay) − lr · update / max(1, √meanSquare / threshold), and zero gradients. meanSquare [1]: of the update of
 * the whole parameter. Does nothing while halted.
 */
export const adafactorApply: Kernel<
  "count" | "cols" | "first" | "group" | "threshold",
  "clip" | "scalars" | "rowMoments" | "columnMoments" | "meanRow" | "meanSquare",
  never,
  "values" | "gradients"
> = defineKernel({
  label: "adafactor_apply",
  params: { count: "u32", cols: "u32", first: "u32", group: "u32", threshold: "f32" },
  reads: {
    clip: "f32",
    scalars: "vec4f",
    rowMoments: "f32",
    columnMoments: "f32",
    meanRow: "f32",
    meanSquare: "f32",
  },
  updates: { values: "f32", gradients: "f32" },
  workgroups: ({ count, cols }) => Math.ceil((count * cols) / LANES),
  wgsl: () => /* wgsl */ `
    ${UPDATE}
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let i = group * ${LANES}u + lane;
      if (i >= p.count * p.cols || clip[2] != 0.0) { return; }
      let s = scalars[p.group];
      let u = scaled(i, factor_of_row(p.first + i / p.cols), i % p.cols) / max(1.0, sqrt(meanSquare[0]) / p.threshold);
      values[i] = values[i] * s.x - s.y * u;
      gradients[i] = 0.0;
    }`,
  cost: ({ count, cols }) => ({ flops: 10 * count * cols, bytes: 16 * count * cols }),
});
