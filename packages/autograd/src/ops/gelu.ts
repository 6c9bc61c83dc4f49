import { empty, geluBackward, geluForward, launch } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";

/**
 * Gaussian error linear unit in its tanh form, elementwise, f32: torch's `approximate="tanh"`, Hugging Face's
 * `gelu_new` and `gelu_pytorch_tanh`; not the exact form, from which it differs by up to 5e-4.
 *
 * @see Hendrycks & Gimpel 2016, "Gaussian Error Linear Units", https://arxiv.org/abs/1606.08415
 */
export function gelu(x: Tensor): Tensor {
  const n = x.size;
  const out = empty(x.device, x.shape);
  launch(geluForward, { params: { n }, reads: { x }, writes: { out } });
  differentiable({ inputs: [x], outputs: [out] }, ([dy]) => {
    const dx = empty(x.device, x.shape);
    launch(geluBackward, { params: { n }, reads: { dy: dy!, x }, writes: { dx } });
    return [dx];
  });
  return out;
}
