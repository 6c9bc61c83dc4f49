// What a matrix product checks before it launches anything.

import { ShapeError, TensorError } from "../../errors.ts";
import type { Weight } from "../../weight.ts";
import { canBeDiagonal } from "./diagonal.ts";
import type { MatmulArgs } from "./matmul.ts";

/** The shape of what an operand stands for. */
export function shapeFor(
  { diagonal }: MatmulArgs,
  operand: NonNullable<MatmulArgs["diagonal"]>["operand"],
  shape: readonly [number, number],
): readonly [number, number] {
  return diagonal?.operand === operand ? [shape[0], diagonal.blocks.ends.length * diagonal.blocks.width] : shape;
}

/**
 * Rows, columns and depth.
 * @param b - as the matrix that it stands for
 */
export function checkedSizes(args: MatmulArgs, b: Weight): { m: number; n: number; k: number } {
  const { layout, a, out, bias } = args;
  const because = `layout ${layout} multiplies a [${a.shape.join(", ")}] by b [${b.shape.join(", ")}]`;
  const check = (arg: string, received: readonly number[], expected: readonly number[]): void => {
    if (received.length !== expected.length || received.some((d, i) => d !== expected[i]))
      throw new ShapeError({ op: "matmul", arg, received, expected, because });
  };
  if (a.shape.length !== 2)
    throw new ShapeError({
      op: "matmul",
      arg: "a",
      received: a.shape,
      expected: ["rows", "cols"],
      because,
    });
  const [a0, a1] = a.shape as [number, number];
  const k = layout === "tn" ? a0 : a1;
  let m = layout === "tn" ? a1 : a0;
  if (args.firstRow !== undefined) {
    m = out.shape[0] ?? 0;
    if (layout !== "tn" || args.firstRow + m > a1)
      throw new ShapeError({
        op: "matmul",
        arg: "out",
        received: out.shape,
        expected: [`at most ${a1 - args.firstRow}`, b.shape[1]],
        because: `it takes rows of the product from ${args.firstRow} on, and ${because}`,
      });
  }
  const n = layout === "nt" ? b.shape[0] : b.shape[1];
  check("b", b.shape, layout === "nt" ? [n, k] : [k, n]);
  const { diagonal } = args;
  const stacked = (rows: number): readonly number[] => [rows, diagonal?.blocks.width ?? 0];
  check("out", out.shape, diagonal?.operand === "out" ? stacked(m) : [m, n]);
  if (diagonal) {
    const { operand, blocks } = diagonal;
    const rows = operand === "b" ? b.shape[0] : operand === "out" ? m : n;
    check("diagonal", [blocks.ends.at(-1) ?? 0], [rows]);
    const layouts = { b: layout !== "tn", "plus.b": args.plus?.layout === "nt", out: layout === "tn" };
    if (!layouts[operand] || !canBeDiagonal(blocks) || (b.format !== "f32" && operand !== "plus.b"))
      throw new TensorError(
        "SHAPE_MISMATCH",
        `matmul: ${operand} of layout ${layout} cannot be ${blocks.ends.length} blocks of ${blocks.width} columns`,
      );
  }
  if (bias) check("bias", bias.shape, [n]);
  if (args.plus) {
    const rank = args.plus.a.shape[1] ?? 0;
    check("plus.a", args.plus.a.shape, [m, rank]);
    const [rows, cols] = shapeFor(args, "plus.b", args.plus.b.shape as [number, number]);
    check("plus.b", [rows, cols], args.plus.layout === "nt" ? [n, rank] : [rank, n]);
  }
  if (layout === "tn" && b.shards.length !== 1)
    throw new TensorError("SHAPE_MISMATCH", `matmul: layout tn takes b in one shard, received ${b.shards.length}`);
  for (const [name, tensor] of Object.entries({ a, out, bias, "plus.a": args.plus?.a, "plus.b": args.plus?.b }))
    if (tensor && tensor.dtype !== "f32")
      throw new TensorError("DTYPE_MISMATCH", `matmul: ${name} is ${tensor.dtype}, expected f32`);
  return { m, n, k };
}
