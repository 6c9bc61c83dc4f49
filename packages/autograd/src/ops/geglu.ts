import { empty, gegluBackward, gegluForward, launch } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";
import { checkSameShape } from "./elementwise.ts";

/**
 * Gated linear unit with GELU in its tanh form: `gelu(gate) · up`, elementwise, f32. Saves nothing beside its inputs.
 *
 * @param gate - output of `gate_proj`, any shape
 * @param up - output of `up_proj`, the same shape
 * @throws {@link ShapeError} if the shapes differ
 * @see Shazeer 2020, "GLU Variants Improve Transformer", https://arxiv.org/abs/2002.05202
 */
export function geglu(gate: Tensor, up: Tensor): Tensor {
  checkSameShape("geglu", ["gate", "up"], gate, up);
  const n = gate.size;
  const out = empty(gate.device, gate.shape);
  launch(gegluForward, { params: { n }, reads: { gate, up }, writes: { out } });

  differentiable({ inputs: [gate, up], outputs: [out] }, ([dy]) => {
    const dgate = empty(gate.device, gate.shape);
    const dup = empty(gate.device, gate.shape);
    launch(gegluBackward, { params: { n }, reads: { dy: dy!, gate, up }, writes: { dgate, dup } });
    return [dgate, dup];
  });
  return out;
}
