import { empty, launch, rmsNormBackwardWeight, rmsNormBackwardX, rmsNormForward, ShapeError } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";

/**
 * Root-mean-square layer normalization over the last dimension: `y = x / sqrt(mean(x²) + eps) * weight`.
 * With `groups` the last dimension is cut into that many equal parts, each normalized on its own with the same gain
 * (Qwen3 does this to every head of q and k).
 *
 * @param x - activations, `[..., groups · dim]`, f32
 * @param weight - learned gain, `[dim]`, f32; no bias in this layer
 * @param options.eps - added to the mean square, in units of x². Take it from the model's
 *   `rms_norm_eps`; a wrong value shifts every logit and fails no shape check.
 * @returns a new tensor with the shape of `x`
 * @throws {@link ShapeError} if `weight` is not `[dim]`
 * @see Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", https://arxiv.org/abs/1910.07467
 */
export function rmsNorm(x: Tensor, weight: Tensor, options: { eps: number; groups?: number }): Tensor {
  const groups = options.groups ?? 1;
  const dim = (x.shape.at(-1) ?? 1) / groups;
  const rows = x.size / dim;
  if (weight.shape.length !== 1 || weight.shape[0] !== dim) {
    const because = `x is [${x.shape.join(", ")}] and the norm runs over ${groups === 1 ? "its last dimension" : `each of ${groups} parts of its last dimension`}`;
    throw new ShapeError({
      op: "rmsNorm",
      arg: "weight",
      received: weight.shape,
      expected: [dim],
      because,
    });
  }
  const y = empty(x.device, x.shape);
  const rstd = empty(x.device, [rows]);
  launch(rmsNormForward, {
    params: { rows, dim, eps: options.eps },
    reads: { x, weight },
    writes: { y, rstd },
  });

  differentiable({ inputs: [x, weight], outputs: [y] }, ([dy], [wantX, wantWeight]) => {
    let dx: Tensor | undefined;
    let dweight: Tensor | undefined;
    if (wantX) {
      dx = empty(x.device, x.shape);
      launch(rmsNormBackwardX, {
        params: { rows, dim },
        reads: { dy: dy!, x, weight, rstd },
        writes: { dx },
      });
    }
    if (wantWeight) {
      dweight = empty(x.device, weight.shape);
      launch(rmsNormBackwardWeight, {
        params: { rows, dim },
        reads: { dy: dy!, x, rstd },
        writes: { dweight },
      });
    }
    return [dx, dweight];
  });
  return y;
}
