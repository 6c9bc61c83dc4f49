import {
  addScaled,
  dotPartials,
  empty,
  launch,
  partialCount,
  scaleByScalar,
  ShapeError,
  sumPartials,
} from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";
import { checkSameShape } from "./elementwise.ts";

/**
 * Mean squared error over all elements: `Σ (x − target)² / n`.
 *
 * @param x - predictions, any shape, f32
 * @param target - the same shape, f32
 * @returns f32 `[1]`
 * @throws {@link ShapeError} if the shapes differ or are empty
 */
export function meanSquaredError(x: Tensor, target: Tensor): Tensor<"f32"> {
  checkSameShape("meanSquaredError", ["x", "target"], x, target);
  const { device, shape, size: n } = x;
  if (n === 0)
    throw new ShapeError({
      op: "meanSquaredError",
      arg: "x",
      received: shape,
      expected: ["at least one element"],
      because: "there is no mean of nothing",
    });
  const difference = empty(device, shape);
  launch(addScaled, {
    params: { n, scale_a: 1, scale_b: -1 },
    reads: { a: x, b: target },
    writes: { out: difference },
  });
  const partials = empty(device, [partialCount(n)]);
  launch(dotPartials, { params: { n, first: 0 }, reads: { a: difference, b: difference }, writes: { partials } });
  const loss = empty(device, [1]);
  launch(sumPartials, { params: { n: partialCount(n), scale: 1 / n }, reads: { partials }, writes: { out: loss } });

  differentiable({ inputs: [x, target], outputs: [loss] }, ([dLoss], wants) =>
    [2 / n, -2 / n].map((scale, i) => {
      if (!wants[i]) return undefined;
      const out = empty(device, shape);
      launch(scaleByScalar, { params: { n, scale }, reads: { x: difference, factor: dLoss! }, writes: { out } });
      return out;
    }),
  );
  return loss;
}
