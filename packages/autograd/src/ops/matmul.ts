import type { Tensor } from "@tunesmith/tensor";
import { linear } from "./linear.ts";

/**
 * Matrix product `a·b` with gradients dA = dC·Bᵀ and dB = Aᵀ·dC.
 *
 * @param a - f32 `[..., M, K]`
 * @param b - f32 `[K, N]`
 * @returns `[..., M, N]`
 * @throws ShapeError if the inner dimensions differ
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  return linear(a, b, { layout: "in_out" });
}
