// Matrix product: the choice of a variant, and one launch per weight shard.

import { TensorError } from "../../errors.ts";
import { launch } from "../../launch.ts";
import type { Indirect } from "../../launch.ts";
import { empty, Tensor } from "../../tensor.ts";
import type { Weight, WeightFormat } from "../../weight.ts";
import { packFlags } from "./diagonal.ts";
import type { Diagonal } from "./diagonal.ts";
import type { Contiguous } from "./operands.ts";
import { ACCUMULATE, ADD_BIAS, ROW_TILES } from "./shared.ts";
import type { MatmulSpec } from "./shared.ts";
import { matmulShuffle } from "./shuffle.ts";
import { checkedSizes, shapeFor } from "./sizes.ts";
import { addSlices } from "./slices.ts";
import { betterTransposed, chooseVariant, isSmall } from "./variants.ts";

export interface MatmulArgs {
  /** nn: a [M,K] · b [K,N]; nt: a [M,K] · b [N,K]ᵀ; tn: a [K,M]ᵀ · b [K,N] */
  readonly layout: "nn" | "nt" | "tn";
  /** f32 */
  readonly a: Tensor;
  /** f32, or a weight in any format; tn takes a weight of one shard only */
  readonly b: Tensor | Weight;
  /**
   * A second product to add, A₂·B₂, both f32, with a depth of its own: a low-rank term. Where it can, it joins the sum
   * of the first, which saves a pass over `out`.
   */
  readonly plus?: { readonly layout: "nn" | "nt"; readonly a: Tensor; readonly b: Tensor } | undefined;
  /** f32 `[M, N]`, another buffer than a, b and bias */
  readonly out: Tensor;
  /**
   * One of b (of nn), plus.b (of nt) and out (of tn) stands for a block-diagonal matrix `[rows, blocks · width]` and holds
   * its blocks alone, stacked `[rows, width]`; see `canBeDiagonal`. Of a gradient nothing beside the blocks is computed.
   */
  readonly diagonal?: { readonly operand: "b" | "plus.b" | "out"; readonly blocks: Diagonal } | undefined;
  /** tn: `out` is the rows of the product from this one on (the gradient of one shard of a weight); default 0 */
  readonly firstRow?: number;
  /** f32 `[N]`, added once to every row */
  readonly bias?: Tensor | undefined;
  /** factor of the product; default 1 */
  readonly scale?: number;
  /** adds to `out` instead of overwriting it */
  readonly accumulate?: boolean;
  /** see `launch`: may replace the workgroup counts, of every launch alike */
  readonly indirect?: Indirect | undefined;
  /**
   * nn, nt: how many of the first rows of `out` are wanted, as data. Gives workgroup counts (⌈rows / tile⌉, y, 1); rows
   * beyond then hold anything. Takes precedence over `indirect`.
   */
  readonly rowTiles?: ((tile: number, y: number) => Tensor<"u32">) | undefined;
  /** other launches write the rest of out: see `launch` */
  readonly unfinished?: boolean;
}

/**
 * `out = scale · (A·B [+ A₂·B₂]) [+ bias] [+ out]`, in f32, summed in an order that depends on the sizes and the device alone.
 * 16-bit weights are decoded inside the kernel; a sharded weight takes one launch per shard.
 *
 * @throws ShapeError if the shapes do not belong together
 * @throws TensorError `DTYPE_MISMATCH` if a, bias or out is not f32
 */
export function matmul(args: MatmulArgs): void {
  const { layout, a, out, bias, diagonal } = args;
  const given = args.b instanceof Tensor ? tensorAsWeight(args.b) : args.b;
  const b = { ...given, shape: shapeFor(args, "b", given.shape) };
  const { m, n, k } = checkedSizes(args, b);
  if (m === 0 || n === 0) return;
  let joined = false;
  for (const [i, shard] of b.shards.entries()) {
    const { firstRow, rows, tensor } = shard;
    // rows of b are columns of out (nt) or a range of the depth (nn, tn), whose later parts add to the first
    const part =
      layout === "nt"
        ? {
            cols: rows,
            depth: k,
            aStart: 0,
            outStart: firstRow,
            accumulate: args.accumulate === true,
          }
        : {
            cols: n,
            depth: rows,
            aStart: layout === "nn" ? firstRow : (args.firstRow ?? 0),
            outStart: 0,
            accumulate: args.accumulate === true || i > 0,
          };
    joined = multiply({
      a: {
        tensor: a,
        contiguous: layout === "tn" ? "own" : "k",
        format: "f32",
        own: m,
        start: part.aStart,
        stride: a.shape[1]!,
      },
      b: {
        tensor,
        contiguous: layout === "nt" ? "k" : "own",
        format: b.format,
        own: part.cols,
        start: 0,
        stride: layout === "nt" ? k : n,
      },
      depth: part.depth,
      plus: b.shards.length === 1 ? args.plus : undefined,
      diagonal,
      out,
      outStart: part.outStart,
      outStride: out.shape[1]!,
      bias: layout === "nt" || i === 0 ? bias : undefined,
      scale: args.scale ?? 1,
      accumulate: part.accumulate,
      indirect: args.indirect,
      rowTiles: args.rowTiles,
      unfinished: args.unfinished === true || (layout === "nt" && i + 1 < b.shards.length),
    });
  }
  if (args.plus && !joined)
    matmul({
      ...args.plus,
      diagonal: diagonal && { operand: "b", blocks: diagonal.blocks },
      out,
      scale: args.scale ?? 1,
      accumulate: true,
      indirect: args.indirect,
    });
}

const FOUR_BIT: ReadonlySet<WeightFormat> = new Set(["nf4", "fp4"]);

/** One operand of a launch. */
interface Side {
  readonly tensor: Tensor;
  readonly contiguous: Contiguous;
  readonly format: WeightFormat;
  /** extent of its own dimension: rows of out for a, columns for b */
  readonly own: number;
  readonly start: number;
  readonly stride: number;
}

interface Product {
  readonly a: Side;
  readonly b: Side;
  readonly depth: number;
  readonly plus: MatmulArgs["plus"];
  readonly diagonal: MatmulArgs["diagonal"];
  readonly out: Tensor;
  readonly outStart: number;
  readonly outStride: number;
  readonly bias: Tensor | undefined;
  readonly scale: number;
  readonly accumulate: boolean;
  readonly indirect: Indirect | undefined;
  readonly rowTiles: MatmulArgs["rowTiles"];
  /** further shards write other columns of out */
  readonly unfinished: boolean;
}

/** Launches one product; says whether `plus` joined it. */
function multiply(product: Product): boolean {
  const { a, b, depth, plus, out, outStart, outStride, bias, scale, diagonal } = product;
  const of = diagonal?.operand;
  const canTranspose = b.format === "f32" && !plus && !diagonal; // the left operand always is f32
  const transposed = canTranspose && betterTransposed({ rows: a.own, cols: b.own, depth });
  const [left, right] = transposed ? [b, a] : [a, b];
  const sizes = { rows: left.own, cols: right.own, depth };
  const { format } = right;
  const classOf = { left: left.contiguous, right: right.contiguous, format, ...sizes };
  const { kernel, tile, across, component, slices, chunk } = chooseVariant(out.device, classOf);
  const small = isSmall(sizes);
  const rank = plus?.a.shape[1] ?? 0;
  const second = plus?.layout === "nt" ? "k" : "own";
  const alikeSecond = component === undefined || (left.contiguous === "k" && right.contiguous === second);
  const joined = plus !== undefined && !small && alikeSecond && fours(rank, second === "k" ? 0 : b.own);

  const width = diagonal?.blocks.width ?? 0;
  const outCols = of === "out" ? width : b.own;
  const destination = slices > 1 ? empty(out.device, [slices * a.own * outCols]) : out;
  const target =
    slices > 1
      ? { start: 0, stride: outCols, flags: 0, scale: 1 }
      : { start: outStart, stride: outStride, flags: flagsOf(product), scale };
  const even = {
    leftFours: inFours(left, depth),
    rightFours: inFours(right, depth),
    outFours: fours(target.start, target.stride, a.own * outCols, transposed ? left.own : right.own),
  };
  const alike = even.leftFours && even.rightFours && even.outFours;
  const spec: MatmulSpec = {
    left: left.contiguous,
    right: right.contiguous,
    format,
    ...(small && !alike && !diagonal ? { leftFours: false, rightFours: false, outFours: false } : even),
    transposed,
    joined: joined ? second : "no",
    ...(of === "b"
      ? { diagonal: "right" }
      : of === "out"
        ? { diagonal: "out" }
        : joined && of
          ? { diagonal: "right2" }
          : {}),
    tile,
    across,
    ...(component ? { component } : {}),
    ...(kernel === matmulShuffle &&
    FOUR_BIT.has(format) &&
    even.rightFours &&
    (!small || alike) &&
    right.stride % 32 === 0
      ? { inBlocks: true }
      : {}),
  };
  const ends = diagonal?.blocks.ends ?? [];
  const endOf = (block: number): number => (block + 1 < ends.length ? ends[block]! : 2 ** 32 - 1);
  // the rows of a transposed product are columns of out
  const tiled = product.rowTiles !== undefined && !transposed;
  const params = {
    rows: left.own,
    cols: right.own,
    depth,
    left_start: left.start,
    left_stride: left.stride,
    right_start: right.start,
    right_stride: right.stride,
    out_start: target.start,
    out_stride: target.stride,
    chunk,
    slices,
    flags: packFlags(target.flags + (tiled ? ROW_TILES : 0), width),
    scale: target.scale,
    rank,
    end_0: endOf(0),
    end_1: endOf(1),
  };
  const rowTiles = Math.ceil(left.own / tile);
  launch(kernel, {
    spec,
    params,
    // where there is nothing to bind, something must still be bound
    reads: {
      left: left.tensor,
      right: right.tensor,
      left2: joined ? plus.a : a.tensor,
      right2: joined ? plus.b : a.tensor,
      bias: bias ?? a.tensor,
    },
    updates: { out: destination },
    indirect: tiled
      ? product.rowTiles!(tile, kernel.workgroups(params, spec, out.device.facts) / rowTiles)
      : product.indirect,
    unfinished: product.unfinished && slices === 1,
  });
  if (slices === 1) return joined;
  launch(addSlices, {
    params: {
      rows: a.own,
      cols: outCols,
      slices,
      out_start: outStart,
      out_stride: outStride,
      flags: flagsOf(product),
      scale,
    },
    reads: { partial: destination, bias: bias ?? a.tensor },
    updates: { out },
    indirect: product.indirect,
    unfinished: product.unfinished,
  });
  destination.dispose();
  return joined;
}

function flagsOf(product: Product): number {
  return (product.bias ? ADD_BIAS : 0) + (product.accumulate ? ACCUMULATE : 0);
}

/** True where all runs of four along the contiguous dimension start at multiples of four. */
function inFours(side: Side, depth: number): boolean {
  const extent = side.contiguous === "k" ? depth : side.own;
  return fours(extent, side.stride, side.start);
}

function fours(...sizes: number[]): boolean {
  return sizes.every((s) => s % 4 === 0);
}

function tensorAsWeight(tensor: Tensor): Weight {
  const { dtype } = tensor;
  if (dtype === "i32" || dtype === "u32")
    throw new TensorError("DTYPE_MISMATCH", `matmul: b is ${dtype}, expected f32, f16 or bf16`);
  const [rows = 1, cols = 1] = tensor.shape;
  return { shape: [rows, cols], format: dtype, shards: [{ tensor, firstRow: 0, rows }] };
}
