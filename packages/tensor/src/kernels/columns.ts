// Cuts the columns of a matrix into parts, and joins parts again: projections that were stored as one.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Element, Kernel, Spec } from "../kernel.ts";

const LANES = 64;

const element = (spec: Spec): Element => (spec["vectors"] === true ? "vec4f" : "f32");

/**
 * x [rows, width] → out [rows, count] = columns first … first + count − 1. Spec: vectors, true where four divides all
 * of them, which then count vectors.
 */
export const takeColumns: Kernel<"rows" | "width" | "first" | "count", "x", "out", never> = defineKernel({
  label: "take_columns",
  params: { rows: "u32", width: "u32", first: "u32", count: "u32" },
  reads: { x: element },
  writes: { out: element },
  workgroups: ({ rows, count }) => Math.ceil((rows * count) / LANES),
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let i = group * ${LANES}u + lane;
      let row = i / p.count;
      if (row >= p.rows) { return; }
      out[i] = x[row * p.width + p.first + (i - row * p.count)];
    }`,
});

/** a [rows, width_a], b [rows, width_b], c [rows, width_c] → out [rows, width_a + width_b + width_c]. Spec: vectors. */
export const joinColumns: Kernel<"rows" | "width_a" | "width_b" | "width_c", "a" | "b" | "c", "out", never> =
  defineKernel({
    label: "join_columns",
    params: { rows: "u32", width_a: "u32", width_b: "u32", width_c: "u32" },
    reads: { a: element, b: element, c: element },
    writes: { out: element },
    workgroups: ({ rows, width_a, width_b, width_c }) => Math.ceil((rows * (width_a + width_b + width_c)) / LANES),
    wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let i = group * ${LANES}u + lane;
      let width = p.width_a + p.width_b + p.width_c;
      let row = i / width;
      if (row >= p.rows) { return; }
      var column = i - row * width;
      if (column < p.width_a) { out[i] = a[row * p.width_a + column]; return; }
      column -= p.width_a;
      if (column < p.width_b) { out[i] = b[row * p.width_b + column]; return; }
      out[i] = c[row * p.width_c + column - p.width_b];
    }`,
  });
