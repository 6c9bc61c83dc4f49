import { addScaled, empty, launch, scaleBy, ShapeError } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";

/** Throws unless both have one shape. */
export function checkSameShape(op: string, names: readonly [string, string], a: Tensor, b: Tensor): void {
  if (a.shape.join() !== b.shape.join())
    throw new ShapeError({
      op,
      arg: names[1],
      received: b.shape,
      expected: a.shape,
      because: `${names[0]} has this shape and the op is elementwise`,
    });
}

/**
 * `a + b`, elementwise, f32.
 * @returns a new tensor with the shape of both
 * @throws {@link ShapeError} if the shapes differ; nothing is broadcast
 */
export function add(a: Tensor, b: Tensor): Tensor {
  checkSameShape("add", ["a", "b"], a, b);
  const out = empty(a.device, a.shape);
  launch(addScaled, {
    params: { n: a.size, scale_a: 1, scale_b: 1 },
    reads: { a, b },
    writes: { out },
  });
  differentiable({ inputs: [a, b], outputs: [out] }, ([dout]) => [dout, dout]);
  return out;
}

/**
 * `factor · x`, elementwise, f32.
 * @param factor - a finite number; structure, so never a value that changes from step to step
 */
export function scale(x: Tensor, factor: number): Tensor {
  const scaled = (v: Tensor): Tensor => {
    const out = empty(v.device, v.shape);
    launch(scaleBy, { params: { n: v.size, factor }, reads: { x: v }, writes: { out } });
    return out;
  };
  const out = scaled(x);
  differentiable({ inputs: [x], outputs: [out] }, ([dout]) => [scaled(dout!)]);
  return out;
}
