// Which kernel runs a product, with which tile, and in how many slices of the depth: a function of sizes and device
// facts alone, so that the same product is summed in the same order every time.

import type { DeviceFacts } from "../../facts.ts";
import { fixedSubgroup } from "../lanes.ts";
import type { MatmulKernel } from "./shared.ts";
import { matmulShuffle, shuffleTileCols } from "./shuffle.ts";
import { matmulTile, tileCols } from "./tile.ts";

interface Variant {
  readonly kernel: MatmulKernel;
  /** compute outᵀ = bᵀ·aᵀ, so that the few columns become rows */
  readonly transposed: boolean;
  /** rows per workgroup */
  readonly tile: number;
  /** the depth runs in `slices` ranges of `chunk` */
  readonly slices: number;
  readonly chunk: number;
  /** not worth a pipeline of its own */
  readonly small: boolean;
}

// Multiplications below which no variant differs by more than a launch costs: these products all take the same ones,
// because a pipeline takes far longer to compile than they run.
const SMALL = 2 ** 15;
// Few rows are decoding, where a large tile would multiply the time of every launch.
const SMALL_FEW_ROWS = 2 ** 12;
// A second pass is a launch and a barrier: on a software device some 20 µs, the time of about this many multiplications.
const WORTH_SLICING = 2 ** 19;
const SHORTEST_SLICE = 128;
const SLICE_STEP = 32; // depth that every variant handles in whole steps

/** Chooses for out [rows, cols] = a [rows, depth] · b [depth, cols]. `canTranspose`: b may be the left operand. */
export function chooseVariant(
  facts: DeviceFacts,
  product: { rows: number; cols: number; depth: number; canTranspose: boolean },
): Variant {
  const { depth } = product;
  const work = product.rows * product.cols * depth;
  const small = work < (product.rows <= 4 ? SMALL_FEW_ROWS : SMALL);
  const transposed = product.canTranspose && !small && product.cols <= 16 && product.rows > product.cols;
  const [rows, cols] = transposed ? [product.cols, product.rows] : [product.rows, product.cols];

  const shuffle = fixedSubgroup(facts);
  const tile = shuffle ? shuffleTile(rows, work, small) : sharedTile(rows, cols, small);
  const tiles = Math.ceil(rows / tile) * Math.ceil(cols / (shuffle ? shuffleTileCols(facts) : tileCols(tile)));
  const wanted = work < WORTH_SLICING ? 1 : Math.ceil((facts.software ? 8 : 128) / tiles);
  const most = Math.min(Math.floor(depth / SHORTEST_SLICE), Math.floor(facts.maxBindingBytes / (4 * rows * cols)), 64);
  const slices = Math.max(1, Math.min(wanted, most));
  const chunk = Math.max(1, Math.ceil(depth / slices / SLICE_STEP)) * SLICE_STEP;
  return {
    kernel: shuffle ? matmulShuffle : matmulTile,
    transposed,
    tile,
    slices: Math.max(1, Math.ceil(depth / chunk)),
    chunk,
    small,
  };
}

/** More rows per load are faster, as long as they are there, and compile a little longer. */
function shuffleTile(rows: number, work: number, small: boolean): number {
  if (small) return 16;
  if (rows <= 8) return rows <= 4 ? 4 : 8;
  return rows >= 64 && work >= 2 ** 22 ? 32 : 16;
}

function sharedTile(rows: number, cols: number, small: boolean): number {
  if (small) return 64;
  if (rows <= 16) return 16;
  // the large tile pays once there are enough of them to fill a large GPU
  return Math.ceil(rows / 128) * Math.ceil(cols / 128) >= 256 ? 128 : 64;
}
