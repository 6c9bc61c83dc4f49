import {
  addNormForward,
  columnSums,
  empty,
  launch,
  NORM_ACCUMULATE,
  NORM_ADD_BEFORE,
  NORM_ROWS_PER_SLICE,
  normBackwardX,
  normForward,
  normWeightSlices,
  ShapeError,
  sumSlices,
} from "@tunesmith/tensor";
import type { NormSpec, Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";
import type { Want } from "../tape.ts";
import { checkSameShape } from "./elementwise.ts";
import { gradientFor } from "./gradient-for.ts";

export interface RmsNormOptions {
  /** added to the mean square, in units of x². Take it from the model's `rms_norm_eps`; a wrong value shifts every logit
   *  and fails no shape check. */
  readonly eps: number;
  /** added to the weight; 1 in Gemma, whose checkpoints hold gain − 1. Default 0 */
  readonly offset?: number;
}

export interface LayerNormOptions {
  /** added to the variance, in units of x²; the model's `layer_norm_epsilon` or the like */
  readonly eps: number;
  /** learned shift, `[dim]`, f32 */
  readonly bias?: Tensor | undefined;
}

/**
 * Root-mean-square layer normalization over the last dimension: `y = x / sqrt(mean(x²) + eps) · (offset + weight)`.
 * With `groups` the last dimension is cut into that many equal parts, each normalized on its own with the same gain
 * (Qwen3 does this to every head of q and k).
 *
 * @param x - activations, `[..., groups · dim]`, f32
 * @param weight - learned gain, `[dim]`, f32; no bias in this layer
 * @returns a new tensor with the shape of `x`
 * @throws {@link ShapeError} if `weight` is not `[dim]`
 * @see Zhang & Sennrich 2019, "Root Mean Square Layer Normalization", https://arxiv.org/abs/1910.07467
 */
export function rmsNorm(x: Tensor, weight: Tensor, options: RmsNormOptions & { groups?: number }): Tensor {
  return normalize("rmsNorm", { ...options, x, weight, center: false }).normed;
}

/**
 * A residual sum and its RMSNorm in one pass: `sum = x + y`, `normed = rmsNorm(sum)`. Backward adds the gradient of the
 * sum in the same pass too.
 *
 * @param x - the residual stream, `[..., dim]`, f32
 * @param y - what a layer adds to it, like `x`
 * @throws {@link ShapeError} if `y` is not like `x`, or `weight` is not `[dim]`
 */
export function addRmsNorm(
  x: Tensor,
  y: Tensor,
  weight: Tensor,
  options: RmsNormOptions,
): { sum: Tensor; normed: Tensor } {
  return normalize("addRmsNorm", { ...options, x, y, weight, center: false });
}

/**
 * Layer normalization over the last dimension: `y = (x − mean) / sqrt(variance + eps) · weight + bias`, with the biased
 * variance, as torch.nn.LayerNorm.
 *
 * @param x - activations, `[..., dim]`, f32
 * @param weight - learned gain, `[dim]`, f32
 * @returns a new tensor with the shape of `x`
 * @throws {@link ShapeError} if weight or bias is not `[dim]`
 * @see Ba et al. 2016, "Layer Normalization", https://arxiv.org/abs/1607.06450
 */
export function layerNorm(x: Tensor, weight: Tensor, options: LayerNormOptions): Tensor {
  return normalize("layerNorm", { ...options, x, weight, center: true }).normed;
}

/** {@link addRmsNorm} with a LayerNorm. */
export function addLayerNorm(
  x: Tensor,
  y: Tensor,
  weight: Tensor,
  options: LayerNormOptions,
): { sum: Tensor; normed: Tensor } {
  return normalize("addLayerNorm", { ...options, x, y, weight, center: true });
}

interface Norm {
  readonly x: Tensor;
  readonly y?: Tensor;
  readonly weight: Tensor;
  readonly bias?: Tensor | undefined;
  readonly eps: number;
  readonly offset?: number;
  readonly groups?: number;
  readonly center: boolean;
}

function normalize(op: string, norm: Norm): { sum: Tensor; normed: Tensor } {
  const { x, y, weight, bias, eps, offset = 0, groups = 1, center } = norm;
  const { device } = x;
  const dim = (x.shape.at(-1) ?? 1) / groups;
  const rows = x.size / dim;
  if (y) checkSameShape(op, ["x", "y"], x, y);
  for (const [arg, tensor] of Object.entries({ weight, bias }))
    if (tensor && (tensor.shape.length !== 1 || tensor.shape[0] !== dim)) {
      const because = `x is [${x.shape.join(", ")}] and the norm runs over ${groups === 1 ? "its last dimension" : `each of ${groups} parts of its last dimension`}`;
      throw new ShapeError({ op, arg, received: tensor.shape, expected: [dim], because });
    }
  const spec: NormSpec = { center, vectors: dim % 4 === 0 };
  const normed = empty(device, x.shape);
  const stats = empty(device, [rows, 2]);
  const params = { rows, dim, eps, offset, has_bias: bias ? 1 : 0 };
  // where there is no bias, something must still be bound
  const learned = { weight, bias: bias ?? weight };
  let sum = x;
  if (y) {
    sum = empty(device, x.shape);
    launch(addNormForward, {
      spec,
      params,
      reads: { x, residual: y, ...learned },
      writes: { sum, y: normed, stats },
    });
  } else launch(normForward, { spec, params, reads: { x, ...learned }, writes: { y: normed, stats } });

  const inputs = [x, weight, ...(bias ? [bias] : []), ...(y ? [y] : [])];
  const outputs = y ? [normed, sum] : [normed];
  differentiable({ inputs, outputs }, ([dNormed, dSum], wants) => {
    const wantBias = bias ? wants[2] : false;
    const wantY = y ? wants.at(-1) : false;
    if (!dNormed) return inputs.map((t) => (t === x || t === y ? dSum : undefined));
    // x and y have one gradient, so only a lone x can have it added to what is there
    const wantX: Want = y ? Boolean(wants[0] || wantY) : wants[0]!;
    const dX = gradientFor(x, wantX, (dx, accumulate) =>
      launch(normBackwardX, {
        spec,
        params: { rows, dim, offset, flags: (dSum ? NORM_ADD_BEFORE : 0) + (accumulate ? NORM_ACCUMULATE : 0) },
        reads: { dy: dNormed, x: sum, weight, stats, before: dSum ?? dNormed },
        updates: { dx },
      }),
    );
    const dWeight = gradientFor(weight, wants[1], (out, accumulate) => {
      const slices = Math.ceil(rows / NORM_ROWS_PER_SLICE);
      const direct = slices === 1 && !accumulate;
      const partial = direct ? out : empty(device, [slices, dim]);
      launch(normWeightSlices, {
        spec,
        params: { rows, dim, slices },
        reads: { dy: dNormed, x: sum, stats },
        writes: { partial },
      });
      if (direct) return;
      sumSlices({ partial, out, accumulate });
      partial.dispose();
    });
    const dBias = gradientFor(bias, wantBias, (out, accumulate) =>
      columnSums({ x: dNormed.reshape([rows, dim]), out, accumulate }),
    );
    return [dX, dWeight, ...(bias ? [dBias] : []), ...(y ? [dX] : [])];
  });
  return { sum, normed };
}
