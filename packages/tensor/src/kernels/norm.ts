// RMSNorm and LayerNorm, forward and backward, alone or with the residual sum in front of them. One workgroup owns whole
// rows, so every sum runs in a fixed order. All f32. LayerNorm is RMSNorm around the row's mean, with a bias.

import type { DeviceFacts } from "../facts.ts";
import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Element, Kernel, ParamType, Spec } from "../kernel.ts";
import { fixedSubgroup, reduceOverLanes, rowLanes } from "./lanes.ts";

/** What changes the code of a norm. */
export interface NormSpec extends Spec {
  /** around the mean (LayerNorm), else around 0 (RMSNorm) */
  readonly center: boolean;
  /** four columns per load; the row length must be a multiple of four */
  readonly vectors: boolean;
}

/** Adds the gradient `before` to dx, and dx as it is. */
export const NORM_ADD_BEFORE = 1;
export const NORM_ACCUMULATE = 2;

/** Rows of dy that one slice of the weight's gradient sums. */
export const NORM_ROWS_PER_SLICE = 128;
const SLICE_LANES = 16;

const element = (spec: Spec): Element => ((spec as NormSpec).vectors ? "vec4f" : "f32");

/** Rows a workgroup handles side by side: where loads are dear they share those of the weight. */
const rowsPerGroup = (facts: DeviceFacts): number => (fixedSubgroup(facts) ? 4 : 1);

/** WGSL: V, the element of the bindings, and `total`, the sum of its components. */
const vector = (spec: Spec): string =>
  (spec as NormSpec).vectors
    ? "alias V = vec4f; fn total(v: V) -> f32 { return (v.x + v.y) + (v.z + v.w); }"
    : "alias V = f32; fn total(v: V) -> f32 { return v; }";

/** `main` for the rows `row_0` … of a group; `body` gets a function that repeats text for each of them. */
function overRows(
  facts: DeviceFacts,
  spec: Spec,
  body: (each: (text: (r: number) => string) => string) => string,
): string {
  const rows = Array.from({ length: rowsPerGroup(facts) }, (_, r) => r);
  return /* wgsl */ `
    ${vector(spec)}
    ${reduceOverLanes(facts)}
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let first = group * ${rows.length}u;
      if (first >= p.rows) { return; }
      let width = p.dim${(spec as NormSpec).vectors ? " / 4u" : ""};
      // a group at the end repeats the last row instead of branching; it is stored once
      ${rows.map((r) => `let row_${r} = min(first + ${r}u, p.rows - 1u); let start_${r} = row_${r} * width;`).join("\n      ")}
      ${body((text) => rows.map(text).join("\n        "))}
    }`;
}

const loop = (facts: DeviceFacts, body: string): string =>
  `for (var i = lane; i < width; i += ${rowLanes(facts)}u) { ${body} }`;

/** The forward; `source` is where a row is read again after `load` gave it for the first time. */
function forward(facts: DeviceFacts, spec: Spec, source: string, load: (r: number) => string): string {
  const { center } = spec as NormSpec;
  return overRows(facts, spec, (each) => {
    const value = (r: number): string => `${source}[start_${r} + i]`;
    const mean = center
      ? `${each((r) => `var sum_${r} = V(0.0);`)}
      ${loop(
        facts,
        each((r) => `sum_${r} += ${load(r)};`),
      )}
      ${each((r) => `let mean_${r} = sum_over_lanes(lane, total(sum_${r})) / f32(p.dim);`)}`
      : each((r) => `let mean_${r} = 0.0;`);
    // around the mean, not E[x²] − mean²: that cancels where the mean is large
    const squared = (r: number): string =>
      center
        ? `{ let v = ${value(r)} - mean_${r}; squares_${r} += v * v; }`
        : `{ let v = ${load(r)}; squares_${r} += v * v; }`;
    return /* wgsl */ `
      ${mean}
      ${each((r) => `var squares_${r} = V(0.0);`)}
      ${loop(facts, each(squared))}
      ${each((r) => `let scale_${r} = inverseSqrt(sum_over_lanes(lane, total(squares_${r})) / f32(p.dim) + p.eps);`)}
      ${loop(
        facts,
        `let w = weight[i] + p.offset;
        var shift = V(0.0);
        if (p.has_bias != 0u) { shift = bias[i]; }
        ${each((r) => `y[start_${r} + i] = (${value(r)}${center ? ` - mean_${r}` : ""}) * scale_${r} * w + shift;`)}`,
      )}
      if (lane == 0u) { ${each((r) => `stats[2u * row_${r}] = mean_${r}; stats[2u * row_${r} + 1u] = scale_${r};`)} }`;
  });
}

/** Per element: square and sum, scale and weight; around the mean also its sum and two differences. */
const forwardFlops = (spec: Spec): number => ((spec as NormSpec).center ? 7 : 4);

type ForwardParams = "rows" | "dim" | "eps" | "offset" | "has_bias";
const FORWARD_PARAMS: Readonly<Record<ForwardParams, ParamType>> = {
  rows: "u32",
  dim: "u32",
  eps: "f32",
  offset: "f32",
  has_bias: "u32",
};

/**
 * x [rows, dim], weight, bias [dim] → y [rows, dim] = (x − mean) · scale · (offset + weight) + bias and
 * stats [rows, 2] = (mean, scale = 1 / sqrt(mean((x − mean)²) + eps)), which backward reuses; without `center` the mean
 * counts as 0. has_bias 0 leaves the bias out, whatever is bound.
 */
export const normForward: Kernel<ForwardParams, "x" | "weight" | "bias", "y" | "stats", never> = defineKernel({
  label: "norm_forward",
  params: FORWARD_PARAMS,
  reads: { x: element, weight: element, bias: element },
  writes: { y: element, stats: "f32" },
  workgroups: ({ rows }, _, facts) => Math.ceil(rows / rowsPerGroup(facts)),
  wgsl: (spec, facts) => forward(facts, spec, "x", (r) => `x[start_${r} + i]`),
  cost: ({ rows, dim }, spec) => ({ flops: forwardFlops(spec) * rows * dim }),
});

/** Like `normForward` of sum = x + residual, which is written too. */
export const addNormForward: Kernel<ForwardParams, "x" | "residual" | "weight" | "bias", "sum" | "y" | "stats", never> =
  defineKernel({
    label: "add_norm_forward",
    params: FORWARD_PARAMS,
    reads: { x: element, residual: element, weight: element, bias: element },
    writes: { sum: element, y: element, stats: "f32" },
    workgroups: ({ rows }, _, facts) => Math.ceil(rows / rowsPerGroup(facts)),
    cost: ({ rows, dim }, spec) => ({ flops: (forwardFlops(spec) + 1) * rows * dim }),
    wgsl: (spec, facts) => `
    fn added(at: u32) -> V { let v = x[at] + residual[at]; sum[at] = v; return v; }
    ${forward(facts, spec, "sum", (r) => `added(start_${r} + i)`)}`,
  });

/**
 * dy, x [rows, dim], weight [dim], stats [rows, 2] → dx [rows, dim] = scale · (g − mean(g) − x̂ · mean(g∘x̂)) with
 * g = dy∘(offset + weight), x̂ = (x − mean) · scale; without `center` mean(g) is left out. `flags` may add `before`, the
 * gradient of the same x from elsewhere, and what dx holds already.
 */
export const normBackwardX: Kernel<
  "rows" | "dim" | "offset" | "flags",
  "dy" | "x" | "weight" | "stats" | "before",
  never,
  "dx"
> = defineKernel({
  label: "norm_backward_x",
  params: { rows: "u32", dim: "u32", offset: "f32", flags: "u32" },
  reads: { dy: element, x: element, weight: element, stats: "f32", before: element },
  updates: { dx: element },
  workgroups: ({ rows }, _, facts) => Math.ceil(rows / rowsPerGroup(facts)),
  // per element: g, x̂, its product and sum; then g, two products, a difference and the scale
  cost: ({ rows, dim, flags }, spec, { bytes }) => ({
    flops: ((spec as NormSpec).center ? 13 : 9) * rows * dim,
    bytes:
      bytes("dy") +
      bytes("x") +
      bytes("weight") +
      bytes("stats") +
      bytes("before") +
      bytes("dx") * ((flags & NORM_ACCUMULATE) === 0 ? 1 : 2),
  }),
  wgsl: (spec, facts) => {
    const { center } = spec as NormSpec;
    const normed = (r: number): string => `(x[start_${r} + i]${center ? ` - mean_${r}` : ""}) * scale_${r}`;
    return overRows(
      facts,
      spec,
      (each) => /* wgsl */ `
      ${each((r) => `${center ? `let mean_${r} = stats[2u * row_${r}]; ` : ""}let scale_${r} = stats[2u * row_${r} + 1u];`)}
      ${each((r) => `var dot_${r} = V(0.0);${center ? ` var sum_${r} = V(0.0);` : ""}`)}
      ${loop(
        facts,
        `let w = weight[i] + p.offset;
        ${each((r) => `{ let g = dy[start_${r} + i] * w; dot_${r} += g * ${normed(r)};${center ? ` sum_${r} += g;` : ""} }`)}`,
      )}
      ${each((r) => `let mean_dot_${r} = sum_over_lanes(lane, total(dot_${r})) / f32(p.dim);`)}
      ${center ? each((r) => `let mean_g_${r} = sum_over_lanes(lane, total(sum_${r})) / f32(p.dim);`) : ""}
      let add_before = (p.flags & ${NORM_ADD_BEFORE}u) != 0u;
      let accumulate = (p.flags & ${NORM_ACCUMULATE}u) != 0u;
      ${loop(
        facts,
        `let w = weight[i] + p.offset;
        ${each(
          (r) => `${r === 0 ? "" : `if (first + ${r}u < p.rows) `}{
          let at = start_${r} + i;
          var v = scale_${r} * (dy[at] * w${center ? ` - mean_g_${r}` : ""} - ${normed(r)} * mean_dot_${r});
          if (add_before) { v += before[at]; }
          if (accumulate) { v += dx[at]; }
          dx[at] = v;
        }`,
        )}`,
      )}`,
    );
  },
});

/**
 * dy, x [rows, dim], stats [rows, 2] → partial [slices, dim]: Σ dy∘x̂ over each slice of 128 rows; the sum of the slices
 * is the gradient of the weight. Each lane owns a column, or four.
 */
export const normWeightSlices: Kernel<"rows" | "dim" | "slices", "dy" | "x" | "stats", "partial", never> = defineKernel(
  {
    label: "norm_weight_slices",
    params: { rows: "u32", dim: "u32", slices: "u32" },
    reads: { dy: element, x: element, stats: "f32" },
    writes: { partial: element },
    workgroups: ({ dim, slices }, spec) =>
      Math.ceil(((spec as NormSpec).vectors ? dim / 4 : dim) / SLICE_LANES) * slices,
    wgsl: (spec) => /* wgsl */ `
    ${vector(spec)}
    @compute @workgroup_size(${SLICE_LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let width = p.dim${(spec as NormSpec).vectors ? " / 4u" : ""};
      let slice = group % p.slices;
      let col = (group / p.slices) * ${SLICE_LANES}u + lane;
      if (col >= width) { return; }
      let end = min((slice + 1u) * ${NORM_ROWS_PER_SLICE}u, p.rows);
      var sum = V(0.0);
      for (var row = slice * ${NORM_ROWS_PER_SLICE}u; row < end; row++) {
        let at = row * width + col;
        sum += dy[at] * ((x[at]${(spec as NormSpec).center ? " - stats[2u * row]" : ""}) * stats[2u * row + 1u]);
      }
      partial[slice * width + col] = sum;
    }`,
  },
);
