import { empty, launch, softCapForward } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";

/**
 * `cap · tanh(x / cap)`, elementwise, f32: logits of a model that caps them, for whoever reads them. Not differentiable:
 * `linearCrossEntropy` and `scoreTokens` cap on their own.
 *
 * @param cap - > 0
 */
export function softCap(x: Tensor, cap: number): Tensor {
  const out = empty(x.device, x.shape);
  launch(softCapForward, { params: { n: x.size, cap }, reads: { x }, writes: { out } });
  return out;
}
