import {
  columnSums,
  empty,
  launch,
  layerNormBackwardWeight,
  layerNormBackwardX,
  layerNormForward,
  ShapeError,
} from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";

/**
 * Layer normalization over the last dimension: `y = (x − mean) / sqrt(variance + eps) · weight + bias`, with the biased
 * variance, as torch.nn.LayerNorm.
 *
 * @param x - activations, `[..., dim]`, f32
 * @param weight - learned gain, `[dim]`, f32
 * @param options.eps - added to the variance, in units of x²; the model's `layer_norm_epsilon` or the like
 * @param options.bias - learned shift, `[dim]`, f32
 * @returns a new tensor with the shape of `x`
 * @throws {@link ShapeError} if weight or bias is not `[dim]`
 * @see Ba et al. 2016, "Layer Normalization", https://arxiv.org/abs/1607.06450
 */
export function layerNorm(x: Tensor, weight: Tensor, options: { eps: number; bias?: Tensor | undefined }): Tensor {
  const { eps, bias } = options;
  const dim = x.shape.at(-1) ?? 1;
  const rows = x.size / dim;
  for (const [arg, tensor] of Object.entries({ weight, bias }))
    if (tensor && (tensor.shape.length !== 1 || tensor.shape[0] !== dim))
      throw new ShapeError({
        op: "layerNorm",
        arg,
        received: tensor.shape,
        expected: [dim],
        because: `x is [${x.shape.join(", ")}] and the norm runs over its last dimension`,
      });
  const y = empty(x.device, x.shape);
  const stats = empty(x.device, [rows, 2]);
  launch(layerNormForward, {
    params: { rows, dim, eps, has_bias: bias ? 1 : 0 },
    // where there is no bias, something must still be bound
    reads: { x, weight, bias: bias ?? weight },
    writes: { y, stats },
  });

  const inputs = [x, weight, ...(bias ? [bias] : [])];
  differentiable({ inputs, outputs: [y] }, ([dOutput], [wantX, wantWeight, wantBias]) => {
    const dy = dOutput!;
    let dx: Tensor | undefined;
    let dweight: Tensor | undefined;
    let dbias: Tensor | undefined;
    if (wantX) {
      dx = empty(x.device, x.shape);
      launch(layerNormBackwardX, { params: { rows, dim }, reads: { dy, x, weight, stats }, writes: { dx } });
    }
    if (wantWeight) {
      const products = empty(x.device, [rows, dim]);
      launch(layerNormBackwardWeight, { params: { rows, dim }, reads: { dy, x, stats }, writes: { products } });
      dweight = empty(x.device, weight.shape);
      columnSums({ x: products, out: dweight });
      products.dispose();
    }
    if (wantBias) {
      dbias = empty(x.device, weight.shape);
      columnSums({ x: dy.reshape([rows, dim]), out: dbias });
    }
    return [dx, dweight, dbias];
  });
  return y;
}
