import { empty, launch, ShapeError, uniformNoise } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";
import { checkDropout } from "./dropout.ts";
import type { DropoutKey } from "./dropout.ts";

/**
 * `x + magnitude · u`, u uniform in [−1, 1) from counters as dropout's masks are; nothing flows back to the magnitudes.
 *
 * @param x - `[rows, dim]`, f32
 * @param magnitudes - f32 `[rows]`
 * @param key - where in the stream of random numbers the noise lies
 * @throws {@link ShapeError} if magnitudes or key does not fit x
 */
export function addNoise(x: Tensor, magnitudes: Tensor, key: DropoutKey): Tensor {
  const op = "addNoise";
  checkDropout(op, x, 0, key);
  const dim = x.shape.at(-1) ?? 1;
  const rows = x.size / dim;
  if (magnitudes.size !== rows)
    throw new ShapeError({
      op,
      arg: "magnitudes",
      received: magnitudes.shape,
      expected: [rows],
      because: `x is [${x.shape.join(", ")}]`,
    });
  const { seed, step, site } = key;
  // where rows are not keyed, something must still be bound
  const { examples, positions } = key.rows ?? { examples: step, positions: step };
  const out = empty(x.device, x.shape);
  launch(uniformNoise, {
    params: { rows, dim, site, keyed: key.rows ? 1 : 0 },
    reads: { x, magnitudes, seed, step, examples, positions },
    writes: { out },
  });
  differentiable({ inputs: [x], outputs: [out] }, ([dout]) => [dout]);
  return out;
}
