import { empty, joinColumns, launch, ShapeError, takeColumns } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";
import { filled } from "./filled.ts";

/**
 * Cuts the output of a fused projection into its parts: two or three runs of columns.
 *
 * @param x - `[rows, groups · Σ widths]`, f32
 * @param widths - columns of each part
 * @param groups - how often the parts take turns: GPT-NeoX stores q, k and v of head 0, then those of head 1, and so on
 * @returns for each width `[rows, groups · width]`
 * @throws {@link ShapeError} if the widths do not add up to the columns of x, or are not two or three
 */
export function splitColumns(x: Tensor, widths: readonly number[], groups: number = 1): Tensor[] {
  const [rows = 0, columns = 0] = x.shape;
  const width = widths.reduce((sum, w) => sum + w, 0);
  if (x.shape.length !== 2 || columns !== groups * width || widths.length < 2 || widths.length > 3)
    throw new ShapeError({
      op: "splitColumns",
      arg: "x",
      received: x.shape,
      expected: ["rows", groups * width],
      because: `it is cut into ${groups} × two or three parts of widths ${widths.join(", ")}`,
    });
  const vectors = widths.every((w) => w % 4 === 0);
  const elements = (n: number): number => (vectors ? n / 4 : n);
  const [spec, runs] = [{ vectors }, rows * groups];
  const parts = widths.map((w, i) => {
    const out = empty(x.device, [rows, groups * w]);
    const first = widths.slice(0, i).reduce((sum, before) => sum + before, 0);
    launch(takeColumns, {
      spec,
      params: { rows: runs, width: elements(width), first: elements(first), count: elements(w) },
      reads: { x },
      writes: { out },
    });
    return out;
  });
  differentiable({ inputs: [x], outputs: parts }, (gradients) => {
    const [a, b, c] = parts.map((part, i) => gradients[i] ?? filled(x.device, part.shape, 0));
    const dx = empty(x.device, x.shape);
    launch(joinColumns, {
      spec,
      params: {
        rows: runs,
        width_a: elements(widths[0]!),
        width_b: elements(widths[1]!),
        width_c: elements(widths[2] ?? 0),
      },
      // where there is no third part, something must still be bound
      reads: { a: a!, b: b!, c: c ?? b! },
      writes: { out: dx },
    });
    return [dx];
  });
  return parts;
}
