import type { Recompute } from "@tunesmith/models";

/** What trades time for memory. None of it changes a loss or a gradient beyond the order of sums. */
export interface StepMemory {
  /** examples (or bins) per micro-batch; default: the schedule's batch size */
  readonly microBatchSize?: number | undefined;
  /** activation checkpointing; default none */
  readonly recompute?: Recompute | undefined;
  /** positions whose logits exist together, a multiple of 64; default by device, see `defaultChunkRows` */
  readonly chunkRows?: number | undefined;
}

/** A chunk larger than the batch is the batch. */
export function rowsFor(tokens: number, chunkRows: number | undefined): number | undefined {
  return chunkRows === undefined ? undefined : Math.min(chunkRows, Math.ceil(tokens / 64) * 64);
}
