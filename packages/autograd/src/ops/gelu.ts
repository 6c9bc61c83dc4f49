import { empty, geluBackward, geluForward, launch } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";

/**
 * Gaussian error linear unit, elementwise, f32.
 *
 * @param form - `tanh`: torch's `approximate="tanh"`, Hugging Face's `gelu_new` and `gelu_pytorch_tanh`; `exact`: x · Φ(x),
 *   torch's and Hugging Face's plain `gelu`. They differ by up to 5e-4.
 * @see Hendrycks & Gimpel 2016, "Gaussian Error Linear Units", https://arxiv.org/abs/1606.08415
 */
export function gelu(x: Tensor, form: "tanh" | "exact" = "tanh"): Tensor {
  const spec = { exact: form === "exact" };
  const n = x.size;
  const out = empty(x.device, x.shape);
  launch(geluForward, { spec, params: { n }, reads: { x }, writes: { out } });
  differentiable({ inputs: [x], outputs: [out] }, ([dy]) => {
    const dx = empty(x.device, x.shape);
    launch(geluBackward, { spec, params: { n }, reads: { dy: dy!, x }, writes: { dx } });
    return [dx];
  });
  return out;
}
