import { empty, gatedBackward, gatedForward, launch, ShapeError } from "@tunesmith/tensor";
import type { GateActivation, Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";

/**
 * Gated linear unit: `act(gate) · up`, elementwise, f32, where x holds both side by side as `linearMany` makes them; SwiGLU
 * with `silu`, GEGLU with `gelu_tanh`. Saves nothing beside x, whose memory its gradient takes over in recorded programs.
 *
 * @param x - `[..., 2 · width]`: gate, then up
 * @returns `[..., width]`
 * @throws {@link ShapeError} if the last dimension is odd
 * @see Shazeer 2020, "GLU Variants Improve Transformer", https://arxiv.org/abs/2002.05202
 */
export function gatedLinearUnit(x: Tensor, options: { readonly activation: GateActivation }): Tensor {
  const both = x.shape.at(-1) ?? 0;
  const width = both / 2;
  if (!Number.isInteger(width) || width < 1)
    throw new ShapeError({
      op: "gatedLinearUnit",
      arg: "x",
      received: x.shape,
      expected: ["...", "an even number"],
      because: "gate and up lie side by side",
    });
  const rows = x.size / both;
  const spec = { activation: options.activation, vectors: width % 4 === 0 };
  const elements = spec.vectors ? width / 4 : width;
  const params = { n: 4 * rows * elements, width: elements };
  const out = empty(x.device, [...x.shape.slice(0, -1), width]);
  launch(gatedForward, { spec, params, reads: { gate_up: x }, writes: { out } });

  differentiable({ inputs: [x], outputs: [out] }, ([dy]) => {
    const dx = empty(x.device, x.shape);
    launch(gatedBackward, { spec, params, reads: { dy: dy!, gate_up: x }, writes: { dgate_up: dx } });
    return [dx];
  });
  return out;
}
