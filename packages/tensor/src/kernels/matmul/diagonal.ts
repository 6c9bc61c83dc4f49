// Block-diagonal operands of products: how their blocks are described, and the WGSL that finds them. A kernel that reads an element of
// such a matrix goes by `block_of` its row; beside the block there is zero, which is never stored.

import type { MatmulSpec } from "./shared.ts";

/** Two ends are what the parameters have room for. */
const MOST_BLOCKS = 3;

/** Blocks of a block-diagonal matrix: each has the rows up to its end, and `width` columns. */
export interface Diagonal {
  readonly ends: readonly number[];
  readonly width: number;
}

/** True for blocks that products can take as they are, stacked. */
export function canBeDiagonal({ ends, width }: Diagonal): boolean {
  return ends.length <= MOST_BLOCKS && width > 0 && width % 4 === 0 && width < 2 ** 16;
}

/**
 * The parameter `flags`: ADD_BIAS, ACCUMULATE and ROW_TILES in the lowest byte, then the width, and on top 4 (see FOUR).
 * @param width - columns of one block of something block-diagonal, below 2¹⁶; else 0
 */
export function packFlags(flags: number, width: number): number {
  return flags + 2 ** 8 * width + 2 ** 24 * 4;
}
/** WGSL: the width of blocks. */
export const WIDTH = "((p.flags >> 8u) & 0xffffu)";
/** The width of blocks, as `packFlags` packed it. */
export const widthOf = (flags: number): number => (flags >>> 8) & 0xffff;

/** WGSL: the block of a row of something block-diagonal, and the rows of a block. */
export const DIAGONAL = /* wgsl */ `
  fn block_of(row: u32) -> u32 { return select(0u, 1u, row >= p.end_0) + select(0u, 1u, row >= p.end_1); }
  fn first_of(block: u32) -> u32 { return select(select(p.end_1, p.end_0, block == 1u), 0u, block == 0u); }
  fn end_of(block: u32) -> u32 { return select(select(0xffffffffu, p.end_1, block == 1u), p.end_0, block == 0u); }`;

/**
 * WGSL: narrows the depth of a tile, [`k_first`, `k_end`) and [`rank_first`, `rank_end`) of the second product, to the
 * blocks that it touches; a tile of out that touches none is not computed.
 */
export function touched(spec: MatmulSpec, tileRows: number, tileCols: number): string {
  const { diagonal, right } = spec;
  const lastCol = `min(col0 + ${tileCols}u, p.cols) - 1u`;
  const columns = `block_of(col0) * ${WIDTH}`;
  const columnsEnd = `(block_of(${lastCol}) + 1u) * ${WIDTH}`;
  if (diagonal === "out")
    return `
      if (block_of(row0) * ${WIDTH} > ${lastCol} || (block_of(min(row0 + ${tileRows}u, p.rows) - 1u) + 1u) * ${WIDTH} <= col0) { return; }`;
  if (diagonal === "right2") return `let rank_first = ${columns}; let rank_end = min(p.rank, ${columnsEnd});`;
  const rank = "let rank_first = 0u; let rank_end = p.rank;";
  if (diagonal !== "right") return rank;
  // kernels take steps of four from a multiple of four; beside its block the operand is zero
  const [first, end] =
    right === "k" ? [columns, columnsEnd] : [`first_of(col0 / ${WIDTH}) & ~3u`, `end_of((${lastCol}) / ${WIDTH})`];
  return `${rank}
      k_end = min(k_end, (min(${end}, p.depth) + 3u) & ~3u);
      k_first = min(max(k_first, ${first}), k_end);`;
}
