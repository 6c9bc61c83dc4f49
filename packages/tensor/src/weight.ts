import type { Tensor } from "./tensor.ts";

/** Formats whose shards are plain matrices of that dtype. */
export type DenseFormat = "f32" | "f16" | "bf16";

/** Formats of four bits per element and one scale per block of elements; see `four-bit.ts`. */
export type FourBitFormat = "nf4" | "fp4";

/** How the elements of a weight are stored; each format has one decoding routine in the matmul template. */
export type WeightFormat = DenseFormat | FourBitFormat;

/** Consecutive rows of a weight in one tensor. */
export interface WeightShard {
  /** `[rows, cols]` in the weight's format; the words of a four-bit shard are one vector of u32 */
  readonly tensor: Tensor;
  readonly firstRow: number;
  readonly rows: number;
}

/**
 * A matrix `[rows, cols]` in an operand format, stored as it is on disk and decoded inside kernels. Where it exceeds
 * the device's largest binding it is a list of row shards; a kernel sees one shard.
 */
export interface Weight {
  readonly shape: readonly [rows: number, cols: number];
  readonly format: WeightFormat;
  readonly shards: readonly WeightShard[];
}

/** A weight of one shard over an existing matrix; the tensor's dtype is the format. */
export function asWeight(tensor: Tensor<DenseFormat>): Weight {
  const [rows, cols] = tensor.shape as [number, number];
  return { shape: [rows, cols], format: tensor.dtype, shards: [{ tensor, firstRow: 0, rows }] };
}
