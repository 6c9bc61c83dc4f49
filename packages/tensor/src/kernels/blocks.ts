// Blocks of a larger matrix: several small matrices, each at its own columns of a common one, with zeros beside them.
// That is how low-rank factors of projections of one input become the factors of one product.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel, ParamType } from "../kernel.ts";

const LANES = 64;
/** Blocks that one launch handles. */
export const MOST_BLOCKS = 4;

type BlockParams =
  | "rows"
  | "cols"
  | "stride"
  | "first_row"
  | "first_col"
  | "step"
  | "end_0"
  | "end_1"
  | "end_2"
  | "scale";
const BLOCK_PARAMS: Readonly<Record<BlockParams, ParamType>> = {
  rows: "u32",
  cols: "u32",
  stride: "u32",
  first_row: "u32",
  first_col: "u32",
  step: "u32",
  end_0: "u32",
  end_1: "u32",
  end_2: "u32",
  scale: "f32",
};

/** WGSL: column of the matrix at which the block of small row `row` starts. */
const COLUMN_OF_BLOCK = /* wgsl */ `
  fn column_of_block(row: u32) -> u32 {
    let block = select(0u, 1u, row >= p.end_0) + select(0u, 1u, row >= p.end_1) + select(0u, 1u, row >= p.end_2);
    return p.first_col + p.step * block;
  }`;

/**
 * blocks [rows, cols], up to four stacked ones that end at rows end_0, end_1, end_2 and `rows` → rows first_row … of
 * matrix [, stride]: scale times block b at columns first_col + b · step …, zeros in the rest of these rows.
 */
export const placeBlocks: Kernel<BlockParams, "blocks", never, "matrix"> = defineKernel({
  label: "place_blocks",
  params: BLOCK_PARAMS,
  reads: { blocks: "f32" },
  updates: { matrix: "f32" },
  workgroups: ({ rows, stride }) => Math.ceil((rows * stride) / LANES),
  wgsl: () => /* wgsl */ `
    ${COLUMN_OF_BLOCK}
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let i = group * ${LANES}u + lane;
      if (i >= p.rows * p.stride) { return; }
      let row = i / p.stride;
      // wraps around for columns before the block
      let col = i - row * p.stride - column_of_block(row);
      var v = 0.0;
      if (col < p.cols) { v = p.scale * blocks[row * p.cols + col]; }
      matrix[p.first_row * p.stride + i] = v;
    }`,
});

/** The inverse: blocks [rows, cols] = scale · (their places in matrix), plus what they hold where accumulate is not 0. */
export const takeBlocks: Kernel<BlockParams | "accumulate", "matrix", never, "blocks"> = defineKernel({
  label: "take_blocks",
  params: { ...BLOCK_PARAMS, accumulate: "u32" },
  reads: { matrix: "f32" },
  updates: { blocks: "f32" },
  workgroups: ({ rows, cols }) => Math.ceil((rows * cols) / LANES),
  wgsl: () => /* wgsl */ `
    ${COLUMN_OF_BLOCK}
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let i = group * ${LANES}u + lane;
      if (i >= p.rows * p.cols) { return; }
      let row = i / p.cols;
      let col = i - row * p.cols;
      var v = p.scale * matrix[(p.first_row + row) * p.stride + column_of_block(row) + col];
      if (p.accumulate != 0u) { v += blocks[i]; }
      blocks[i] = v;
    }`,
});
