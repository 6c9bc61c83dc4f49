// Rows by index: gather (embedding look-up, rows with a target), scatter (its inverse for distinct rows), and a
// scatter that adds rows of equal index in a fixed order, without atomics. An index outside a table's rows is never
// used as an address: it gathers zeros and scatters nothing.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Cost, Element, Kernel, LaunchedWork, ParamType, Spec } from "../kernel.ts";
import type { WeightFormat } from "../weight.ts";
import { OPERAND_FORMATS } from "./matmul/operands.ts";
import type { OperandFormat } from "./matmul/operands.ts";

const LANES = 64;

type GatherParams = "count" | "dim" | "first_id" | "first_row" | "rows";
const GATHER_PARAMS: Readonly<Record<GatherParams, ParamType>> = {
  count: "u32",
  dim: "u32",
  first_id: "u32",
  first_row: "i32",
  rows: "u32",
};

const tableFormat = (spec: Spec): OperandFormat => OPERAND_FORMATS[spec["format"] as WeightFormat];
const tableElement = (spec: Spec): Element => tableFormat(spec).single;

function gather(spec: Spec, otherwise: string): string {
  const format = tableFormat(spec);
  return /* wgsl */ `
    ${format.functions?.("table") ?? ""}
    fn element(i: u32) -> f32 { ${format.one("table", "i")} }
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.count) { return; }
      let row = ids[p.first_id + group] - p.first_row;
      if (row >= 0 && row < i32(p.rows)) {
        let start = u32(row) * p.dim;
        for (var i = lane; i < p.dim; i += ${LANES}u) { out[group * p.dim + i] = element(start + i); }
      } else { ${otherwise} }
    }`;
}

/** The rows that are read, whatever their format, and those that are written. */
const gatherCost = (
  { count, dim, rows }: Readonly<Record<GatherParams, number>>,
  _: Spec,
  work: LaunchedWork,
): Cost => ({
  flops: 0,
  bytes: 4 * count + (work.bytes("table") / rows) * Math.min(count, rows) + 4 * count * dim,
});

/**
 * table [rows, dim] in a weight format, ids (i32) → out [count, dim] f32: row `ids[first_id + i] − first_row` of the
 * table, or zeros where there is none.
 */
export const gatherRows: Kernel<GatherParams, "ids" | "table", "out", never> = defineKernel({
  label: "gather_rows",
  params: GATHER_PARAMS,
  reads: { ids: "i32", table: tableElement },
  writes: { out: "f32" },
  workgroups: ({ count }) => count,
  wgsl: (spec) => gather(spec, `for (var i = lane; i < p.dim; i += ${LANES}u) { out[group * p.dim + i] = 0.0; }`),
  cost: gatherCost,
});

/** Like `gatherRows` for a further shard of a table: rows that are not in it keep what `out` has. */
export const gatherRowsInto: Kernel<GatherParams, "ids" | "table", never, "out"> = defineKernel({
  label: "gather_rows_into",
  params: GATHER_PARAMS,
  reads: { ids: "i32", table: tableElement },
  updates: { out: "f32" },
  workgroups: ({ count }) => count,
  wgsl: (spec) => gather(spec, ""),
  cost: gatherCost,
});

/**
 * ids [count] (i32) → order [count] (u32): the positions sorted by (id, position). Counts smaller neighbours, count²
 * steps in all: a sort in one dispatch, for the few thousand tokens of a micro-batch.
 */
export const orderByIds: Kernel<"count", "ids", "order", never> = defineKernel({
  label: "order_by_ids",
  params: { count: "u32" },
  reads: { ids: "i32" },
  writes: { order: "u32" },
  workgroups: ({ count }) => Math.ceil(count / LANES),
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let i = group * ${LANES}u + lane;
      if (i >= p.count) { return; }
      let id = ids[i];
      var before = 0u;
      for (var j = 0u; j < p.count; j++) {
        let other = ids[j];
        before += select(0u, 1u, other < id || (other == id && j < i));
      }
      order[before] = i;
    }`,
});

/**
 * source [count, dim] f32, ids, order [count] → table [rows, dim] f32: adds each source row to row `id − first_row`.
 * The workgroup at the first of a run of equal ids sums the run in token order and alone touches that table row.
 */
export const scatterAddRows: Kernel<
  "count" | "dim" | "first_row" | "rows",
  "source" | "ids" | "order",
  never,
  "table"
> = defineKernel({
  label: "scatter_add_rows",
  params: { count: "u32", dim: "u32", first_row: "i32", rows: "u32" },
  reads: { source: "f32", ids: "i32", order: "u32" },
  updates: { table: "f32" },
  workgroups: ({ count }) => count,
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.count) { return; }
      let id = ids[order[group]];
      let row = id - p.first_row;
      if (row < 0 || row >= i32(p.rows)) { return; }
      if (group > 0u && ids[order[group - 1u]] == id) { return; }
      for (var i = lane; i < p.dim; i += ${LANES}u) {
        var sum = 0.0;
        for (var j = group; j < p.count; j++) {
          let token = order[j];
          if (ids[token] != id) { break; }
          sum += source[token * p.dim + i];
        }
        table[u32(row) * p.dim + i] += sum;
      }
    }`,
  cost: ({ count, dim }) => ({ flops: count * dim, bytes: 8 * count + 3 * 4 * count * dim }),
});

/**
 * source [count, dim] f32, ids (i32) → table [rows, dim] f32: row `ids[first_id + i]` becomes source row i. Ids inside
 * the table are distinct; others are skipped.
 */
export const scatterRows: Kernel<"count" | "dim" | "first_id" | "rows", "source" | "ids", never, "table"> =
  defineKernel({
    label: "scatter_rows",
    params: { count: "u32", dim: "u32", first_id: "u32", rows: "u32" },
    reads: { source: "f32", ids: "i32" },
    updates: { table: "f32" },
    workgroups: ({ count }) => count,
    wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.count) { return; }
      let row = ids[p.first_id + group];
      if (row < 0 || row >= i32(p.rows)) { return; }
      for (var i = lane; i < p.dim; i += ${LANES}u) {
        table[u32(row) * p.dim + i] = source[group * p.dim + i];
      }
    }`,
    cost: ({ count, dim }) => ({ flops: 0, bytes: 4 * count + 2 * 4 * count * dim }),
  });
