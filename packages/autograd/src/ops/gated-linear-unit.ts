import { empty, gatedBackward, gatedForward, launch, scaleBy, ShapeError } from "@tunesmith/tensor";
import type { GateActivation, Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";

/**
 * Gated linear unit: `act(gate) · up`, elementwise, f32, where x holds both side by side as `linearMany` makes them; SwiGLU
 * with `silu`, GEGLU with `gelu_tanh`. Saves nothing beside x.
 *
 * @param x - `[..., 2 · width]`: gate, then up
 * @param options.overwrite - backward writes the gradient of x over x instead of a new tensor: for an x that nothing
 *   else reads. Backward can then run only once.
 * @returns `[..., width]`
 * @throws {@link ShapeError} if the last dimension is odd
 * @see Shazeer 2020, "GLU Variants Improve Transformer", https://arxiv.org/abs/2002.05202
 */
export function gatedLinearUnit(
  x: Tensor,
  options: { readonly activation: GateActivation; readonly overwrite?: boolean },
): Tensor {
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

  let overwritten = false;
  differentiable({ inputs: [x], outputs: [out] }, ([dy]) => {
    if (overwritten) throw new Error("gatedLinearUnit: backward ran a second time over an input that it overwrote");
    let dx = x;
    if (options.overwrite) overwritten = true;
    else {
      dx = empty(x.device, x.shape);
      launch(scaleBy, { params: { n: x.size, factor: 1 }, reads: { x }, writes: { out: dx } });
    }
    launch(gatedBackward, { spec, params, reads: { dy: dy! }, updates: { gate_up: dx } });
    return [dx];
  });
  return out;
}
