// Which kernel runs a product, with which tile, and in how many slices of the depth: a function of sizes, device facts
// and the device's table of choices alone, so that the same product is summed in the same order every time.

import type { Device } from "../../device.ts";
import type { DeviceFacts, MatrixShape } from "../../facts.ts";
import type { WeightFormat } from "../../weight.ts";
import { fixedSubgroup } from "../lanes.ts";
import type { Contiguous } from "./operands.ts";
import type { MatmulKernel } from "./shared.ts";
import { matmulMatrix, matrixShape, matrixTileCols, matrixTileRows } from "./matrix.ts";
import { matmulShuffle, shuffleTileCols } from "./shuffle.ts";
import { matmulTile, tileCols } from "./tile.ts";

/** A product as kernels see it: left [rows, depth] · right [depth, cols]; left is f32. */
export interface ProductClass {
  readonly left: Contiguous;
  readonly right: Contiguous;
  readonly format: WeightFormat;
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
}

/** Of the device: f32, or mixed, which allows to round operands to f16. */
export type Compute = NonNullable<Device["options"]["compute"]>;

/** One way to run a product. */
interface Candidate {
  readonly kernel: MatmulKernel;
  /** rows per workgroup; of matrix units: fragments down per subgroup */
  readonly tile: number;
  /** runs of four columns per lane; of matrix units: fragments across per subgroup */
  readonly across: number;
}

/** By name, as tables of choices spell it: family, rows, and runs of four columns per lane, or fragments down and across. */
const CANDIDATES: Readonly<Record<string, Candidate>> = {
  ...Object.fromEntries(
    ["4x1", "8x1", "16x1", "32x1", "16x2", "32x2"].map((size) => {
      const [tile, across] = size.split("x").map(Number) as [number, number];
      return [`shuffle-${size}`, { kernel: matmulShuffle, tile, across }];
    }),
  ),
  ...Object.fromEntries([16, 64, 128].map((tile) => [`tile-${tile}`, { kernel: matmulTile, tile, across: 1 }])),
  "matrix-1x2": { kernel: matmulMatrix, tile: 1, across: 2 },
  "matrix-2x4": { kernel: matmulMatrix, tile: 2, across: 4 },
};

interface Variant {
  readonly kernel: MatmulKernel;
  /** rows per workgroup */
  readonly tile: number;
  readonly across: number;
  /** type of the operands of matrix units */
  readonly component: MatrixShape["component"] | undefined;
  /** the depth runs in `slices` ranges of `chunk` */
  readonly slices: number;
  readonly chunk: number;
}

// Multiplications below which no variant differs by more than a launch costs: these products all take the same ones,
// because a pipeline takes far longer to compile than they run.
const SMALL = 2 ** 15;
// Few rows are decoding, where a large tile would multiply the time of every launch.
const SMALL_FEW_ROWS = 2 ** 12;
// Multiplications that are worth a second pass. On a software device a launch costs some 50 µs by the clock, in which one core
// makes this many; what slicing can save there is the time of a tile.
const WORTH_SLICING = 2 ** 19;
const TILE_WORTH_SLICING = 2 ** 20;
const SHORTEST_SLICE = 128;
const SLICE_STEP = 32; // depth that every variant handles in whole steps

/** True for products not worth a pipeline, or a choice, of their own. */
export function isSmall(product: { rows: number; cols: number; depth: number }): boolean {
  return product.rows * product.cols * product.depth < (product.rows <= 4 ? SMALL_FEW_ROWS : SMALL);
}

/** True where outᵀ = rightᵀ·leftᵀ is the better product, because its few columns become rows. */
export function betterTransposed(product: { rows: number; cols: number; depth: number }): boolean {
  return !isSmall(product) && product.cols <= 16 && product.rows > product.cols;
}

const classSize = (n: number): number => 2 ** Math.ceil(Math.log2(n));

/** Products of one class run the same variant: sizes count by powers of two, up to where they stop to matter. */
export function classKey(product: ProductClass, compute: Compute): string {
  const size = (n: number): number => Math.min(4096, classSize(n));
  const layout = `${product.left === "k" ? "n" : "t"}${product.right === "k" ? "t" : "n"}`;
  const sizes = `${size(product.rows)}x${size(product.cols)}x${size(product.depth)}`;
  return `${layout} ${product.format} ${sizes}${compute === "mixed" ? " mixed" : ""}`;
}

/** The variant of a product, and where the device's table has none for its class, the seeded one, which it then keeps. */
export function chooseVariant(device: Device, product: ProductClass): Variant {
  const { facts } = device;
  const compute = device.options.compute ?? "f32";
  const small = isSmall(product);
  const seeded = (): string => seededName(facts, product, compute);
  const name = small ? seeded() : device.kernelChoices.decide(classKey(product, compute), product, seeded);
  const { kernel, across } = CANDIDATES[name]!;
  const component = kernel === matmulMatrix ? componentOf(compute) : undefined;
  const tile = tileOf(facts, name, compute).rows;
  // cut as for the seeded variant: memory for partial results, and so the memory plan, is that of the shipped table
  return { kernel, tile, across, component, ...slicesOf(facts, product, tileOf(facts, seeded(), compute)) };
}

/** Rows and columns of out per workgroup. */
function tileOf(facts: DeviceFacts, name: string, compute: Compute): { rows: number; cols: number } {
  const { kernel, tile, across } = CANDIDATES[name]!;
  if (kernel === matmulShuffle) return { rows: tile, cols: shuffleTileCols(facts, across) };
  if (kernel === matmulTile) return { rows: tile, cols: tileCols(tile) };
  const shape = matrixShape(facts, componentOf(compute))!;
  return { rows: matrixTileRows(shape, tile), cols: matrixTileCols(shape, across) };
}

/** The variants worth measuring for a product, the seeded one first. */
export function candidatesOf(facts: DeviceFacts, product: ProductClass, compute: Compute): string[] {
  const seeded = seededName(facts, product, compute);
  const others = Object.keys(CANDIDATES).filter((name) => {
    const { kernel, tile } = CANDIDATES[name]!;
    if (name === seeded || !canRun(facts, name, compute)) return false;
    if (kernel === matmulMatrix) return !facts.software && product.rows > 16;
    return (kernel === matmulShuffle) === fixedSubgroup(facts) && (product.rows > 16 ? tile > 8 : tile <= 16);
  });
  return [seeded, ...others];
}

/** True if `name` is a variant that this device can run. */
export function canRun(facts: DeviceFacts, name: string, compute: Compute): boolean {
  const kernel = CANDIDATES[name]?.kernel;
  if (kernel === matmulShuffle) return fixedSubgroup(facts);
  if (kernel === matmulMatrix) return matrixShape(facts, componentOf(compute)) !== undefined;
  return kernel !== undefined;
}

/** Matrix units take f32 operands where there are such units, and f16 ones where the user allowed for the rounding. */
function componentOf(compute: Compute): MatrixShape["component"] {
  return compute === "mixed" ? "f16" : "f32";
}

/** The table that is shipped: of software devices measured (docs/log.md), of others assumed until `autotune` measures. */
function seededName(facts: DeviceFacts, product: ProductClass, compute: Compute): string {
  const { rows, cols } = product;
  const small = isSmall(product);
  if (!fixedSubgroup(facts)) {
    if (small) return "tile-64";
    if (rows <= 16) return "tile-16";
    // a large tile pays once there are enough of them to fill a large GPU
    const large = Math.ceil(rows / 128) * Math.ceil(cols / 128) >= 256;
    // matrix units of f32 are taken only where they were measured: not every device has faster ones than its plain ones
    if (compute === "mixed" && !facts.software && canRun(facts, "matrix-1x2", compute))
      return large ? "matrix-2x4" : "matrix-1x2";
    return large ? "tile-128" : "tile-64";
  }
  if (small) return "shuffle-16x1";
  if (rows <= 8) return rows <= 4 ? "shuffle-4x1" : "shuffle-8x1";
  // more rows and columns per load are faster, as long as they are there, and compile a little longer
  // by the sizes of its class, so that all of a class agree
  const large = classSize(rows) * classSize(cols) * classSize(product.depth) >= 2 ** 22;
  const wide = slowShuffles(facts) && (cols >= 256 || (cols >= 128 && cols % 64 === 0));
  const fills32 = rows >= 64 || (rows > 16 && rows <= 32); // between them a second tile would be half empty
  if (large && fills32) return wide ? "shuffle-32x2" : "shuffle-32x1";
  return large && wide && rows <= 16 ? "shuffle-16x2" : "shuffle-16x1";
}

/** Mesa's software driver from 25.1 on: a shuffle costs three times as much as before, registers spill less. */
function slowShuffles(facts: DeviceFacts): boolean {
  const [, major, minor] = /Mesa (\d+)\.(\d+)/.exec(facts.description) ?? [];
  return Number(major) * 100 + Number(minor) >= 2501;
}

function slicesOf(
  facts: DeviceFacts,
  product: ProductClass,
  tile: { rows: number; cols: number },
): { slices: number; chunk: number } {
  const { rows, cols, depth } = product;
  const tiles = Math.ceil(rows / tile.rows) * Math.ceil(cols / tile.cols);
  const worth = facts.software
    ? Math.min(rows, tile.rows) * Math.min(cols, tile.cols) * depth >= TILE_WORTH_SLICING
    : rows * cols * depth >= WORTH_SLICING;
  const wanted = worth ? Math.ceil((facts.software ? 8 : 128) / tiles) : 1;
  const most = Math.min(Math.floor(depth / SHORTEST_SLICE), Math.floor(facts.maxBindingBytes / (4 * rows * cols)), 64);
  const slices = Math.max(1, Math.min(wanted, most));
  const chunk = Math.max(1, Math.ceil(depth / slices / SLICE_STEP)) * SLICE_STEP;
  return { slices: Math.max(1, Math.ceil(depth / chunk)), chunk };
}
