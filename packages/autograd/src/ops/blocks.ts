import { launch, placeBlocks, takeBlocks } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";

/** Small matrices stacked in one tensor, and their place in a large one; at most four. */
export interface Blocks {
  /** rows of each */
  readonly sizes: readonly number[];
  readonly cols: number;
  /** where they start in the large matrix; its rows go on from block to block */
  readonly firstRow: number;
  readonly firstCol: number;
  /** columns from one block to the next */
  readonly step: number;
  /** factor of what is moved */
  readonly scale: number;
}

/** Writes blocks to their rows of `matrix`, with zeros beside them. */
export function place(matrix: Tensor, blocks: Blocks, from: Tensor, options: { unfinished: boolean }): void {
  launch(placeBlocks, {
    params: params(matrix, blocks),
    reads: { blocks: from },
    updates: { matrix },
    unfinished: options.unfinished,
  });
}

/** Reads blocks from their places in `matrix`, and adds them to what `into` holds if asked to. */
export function take(matrix: Tensor, blocks: Blocks, into: Tensor, options: { accumulate: boolean }): void {
  launch(takeBlocks, {
    params: { ...params(matrix, blocks), accumulate: options.accumulate ? 1 : 0 },
    reads: { matrix },
    updates: { blocks: into },
  });
}

function params(
  matrix: Tensor,
  { sizes, cols, firstRow, firstCol, step, scale }: Blocks,
): Record<
  "rows" | "cols" | "stride" | "first_row" | "first_col" | "step" | "end_0" | "end_1" | "end_2" | "scale",
  number
> {
  const before = (count: number): number => sizes.slice(0, count).reduce((sum, n) => sum + n, 0);
  const end = (block: number): number => (block + 1 < sizes.length ? before(block + 1) : 2 ** 32 - 1);
  return {
    rows: before(sizes.length),
    cols,
    stride: matrix.shape[1] ?? 1,
    first_row: firstRow,
    first_col: firstCol,
    step,
    end_0: end(0),
    end_1: end(1),
    end_2: end(2),
    scale,
  };
}
