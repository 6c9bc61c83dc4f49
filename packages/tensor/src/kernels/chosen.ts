// Some rows or columns, chosen by a short list of distinct ids: where in the list an id stands, and columns by id.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";

const LANES = 64;

/** ids [count], list [n] (i32) → places [count] (i32): where each id stands in the list, or −1. count · n steps. */
export const placesInList: Kernel<"count" | "n", "ids" | "list", "places", never> = defineKernel({
  label: "places_in_list",
  params: { count: "u32", n: "u32" },
  reads: { ids: "i32", list: "i32" },
  writes: { places: "i32" },
  workgroups: ({ count }) => Math.ceil(count / LANES),
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let i = group * ${LANES}u + lane;
      if (i >= p.count) { return; }
      var place = -1;
      for (var j = 0u; j < p.n; j++) {
        if (list[j] == ids[i]) { place = i32(j); break; }
      }
      places[i] = place;
    }`,
});

/** x [rows, width], list [n] (i32) → out [rows, n] = columns list[0], list[1], … of x. A workgroup per row. */
export const takeChosenColumns: Kernel<"rows" | "width" | "n", "x" | "list", "out", never> = defineKernel({
  label: "take_chosen_columns",
  params: { rows: "u32", width: "u32", n: "u32" },
  reads: { x: "f32", list: "i32" },
  writes: { out: "f32" },
  workgroups: ({ rows }) => rows,
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.rows) { return; }
      for (var j = lane; j < p.n; j += ${LANES}u) {
        out[group * p.n + j] = x[group * p.width + u32(list[j])];
      }
    }`,
  cost: ({ rows, n }) => ({ flops: 0, bytes: 4 * n + 2 * 4 * rows * n }),
});

/** source [rows, n], list [n] (i32) → x [rows, width]: source column j is added to column list[j]. A workgroup per row. */
export const addChosenColumns: Kernel<"rows" | "width" | "n", "source" | "list", never, "x"> = defineKernel({
  label: "add_chosen_columns",
  params: { rows: "u32", width: "u32", n: "u32" },
  reads: { source: "f32", list: "i32" },
  updates: { x: "f32" },
  workgroups: ({ rows }) => rows,
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.rows) { return; }
      for (var j = lane; j < p.n; j += ${LANES}u) {
        x[group * p.width + u32(list[j])] += source[group * p.n + j];
      }
    }`,
  cost: ({ rows, n }) => ({ flops: rows * n, bytes: 4 * n + 3 * 4 * rows * n }),
});
