// Sums over rows: the gradient of a bias. Each lane owns one column (four where columns come in fours), long columns
// are cut into slices whose partial sums a second pass adds in order.

import { ShapeError } from "../../errors.ts";
import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../../kernel.ts";
import type { Kernel } from "../../kernel.ts";
import { launch } from "../../launch.ts";
import { empty } from "../../tensor.ts";
import type { Tensor } from "../../tensor.ts";
import { ACCUMULATE } from "./shared.ts";
import { addSlices } from "./slices.ts";

const LANES = 16;
const ROWS_PER_SLICE = 128;

/** x [rows, cols] → partial [slices, cols]; cols in units of the binding's element. */
const columnSumsOfSlices: Kernel<"rows" | "cols" | "slices", "x", "partial", never> = defineKernel({
  label: "column_sums",
  params: { rows: "u32", cols: "u32", slices: "u32" },
  reads: { x: ({ vectors }) => (vectors ? "vec4f" : "f32") },
  writes: { partial: ({ vectors }) => (vectors ? "vec4f" : "f32") },
  workgroups: ({ cols, slices }) => Math.ceil(cols / LANES) * slices,
  wgsl: ({ vectors }) => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let slice = group % p.slices;
      let col = (group / p.slices) * ${LANES}u + lane;
      if (col >= p.cols) { return; }
      let end = min((slice + 1u) * ${ROWS_PER_SLICE}u, p.rows);
      var sum = ${vectors ? "vec4f(0.0)" : "0.0"};
      for (var row = slice * ${ROWS_PER_SLICE}u; row < end; row++) { sum += x[row * p.cols + col]; }
      partial[slice * p.cols + col] = sum;
    }`,
});

/**
 * `out[col] = Σ_row x[row, col] [+ out[col]]`, in a fixed order.
 * @param args.x - f32 `[rows, cols]`
 * @param args.out - f32 `[cols]`
 * @throws ShapeError if out does not have a value per column
 */
export function columnSums(args: { x: Tensor; out: Tensor; accumulate?: boolean }): void {
  const { x, out } = args;
  const [rows = 0, cols = 0] = x.shape;
  if (x.shape.length !== 2 || out.shape.length !== 1 || out.shape[0] !== cols)
    throw new ShapeError({
      op: "columnSums",
      arg: "out",
      received: out.shape,
      expected: [cols],
      because: `x is [${x.shape.join(", ")}]`,
    });
  const slices = Math.max(1, Math.ceil(rows / ROWS_PER_SLICE));
  const direct = slices === 1 && args.accumulate !== true;
  const vectors = cols % 4 === 0;
  const partial = direct ? out : empty(x.device, [slices, cols]);
  launch(columnSumsOfSlices, {
    spec: { vectors },
    params: { rows, cols: vectors ? cols / 4 : cols, slices },
    reads: { x },
    writes: { partial },
  });
  if (direct) return;
  sumSlices({ partial, out, accumulate: args.accumulate === true });
  partial.dispose();
}

/** `out[col] = Σ_slice partial[slice, col] [+ out[col]]`, slice after slice; partial is f32 `[slices, cols]`. */
export function sumSlices(args: { partial: Tensor; out: Tensor; accumulate: boolean }): void {
  const { partial, out, accumulate } = args;
  const [slices, cols] = partial.shape as [number, number];
  const flags = accumulate ? ACCUMULATE : 0;
  launch(addSlices, {
    params: { rows: 1, cols, slices, out_start: 0, out_stride: cols, flags, scale: 1 },
    reads: { partial, bias: partial },
    updates: { out },
  });
}
