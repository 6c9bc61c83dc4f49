import { addDropoutMask, dropoutMask, empty, launch, ShapeError } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";

/** Where in the stream of random numbers a mask lies; with the probability it determines every bit. */
export interface DropoutKey {
  /** u32 `[2]`: low word, high word */
  readonly seed: Tensor<"u32">;
  /** u32 `[1]`: the optimizer step */
  readonly step: Tensor<"u32">;
  /** u32, `siteId` of module path and role: never a running number */
  readonly site: number;
  /** i32 or u32 `[rows]`: which example of the step a row belongs to, and its position therein, so that the mask does
   *  not depend on how examples are packed into micro-batches. Default: one example, position = row */
  readonly rows?: { readonly examples: Tensor; readonly positions: Tensor } | undefined;
}

/**
 * Dropout: each element is 0 with probability `p`, else `x / (1 − p)`. The mask comes from counters (Philox 4x32-10,
 * the words of `philox4x32` in @tunesmith/core): feature f of a row is kept if word f mod 4 of the counter
 * (position · ⌈dim/4⌉ + ⌊f/4⌋, example, site, step) is at least ⌊p · 2³²⌋. Nothing is saved for backward.
 *
 * @param x - `[..., dim]`, f32
 * @param p - in [0, 1); 0 returns `x` itself
 * @throws {@link ShapeError} if the key does not fit; RangeError for p
 * @see Srivastava et al. 2014, "Dropout", https://jmlr.org/papers/v15/srivastava14a.html
 */
export function dropout(x: Tensor, p: number, key: DropoutKey): Tensor {
  checkDropout("dropout", x, p, key);
  if (p === 0) return x;
  const masked = (v: Tensor): Tensor => {
    const out = empty(v.device, v.shape);
    maskInto(out, v, p, key, false);
    return out;
  };
  const out = masked(x);
  differentiable({ inputs: [x], outputs: [out] }, ([dy]) => [masked(dy!)]);
  return out;
}

/** Throws unless p is a probability and the key fits x. */
export function checkDropout(op: string, x: Tensor, p: number, key: DropoutKey): void {
  if (!(p >= 0 && p < 1)) throw new RangeError(`${op}: p is ${p}, expected a probability in [0, 1)`);
  const rows = x.size / (x.shape.at(-1) ?? 1);
  const check = (arg: string, tensor: Tensor, size: number): void => {
    if (tensor.size !== size)
      throw new ShapeError({
        op,
        arg,
        received: tensor.shape,
        expected: [size],
        because: `x is [${x.shape.join(", ")}]`,
      });
  };
  check("seed", key.seed, 2);
  check("step", key.step, 1);
  if (!key.rows) return;
  check("examples", key.rows.examples, rows);
  check("positions", key.rows.positions, rows);
}

/** out = dropout(x), or out += dropout(x); the mask is that of `x`'s own rows, whatever x holds. */
export function maskInto(out: Tensor, x: Tensor, p: number, key: DropoutKey, accumulate: boolean): void {
  const { seed, step, site } = key;
  const dim = x.shape.at(-1) ?? 1;
  // where rows are not keyed, something must still be bound
  const { examples, positions } = key.rows ?? { examples: step, positions: step };
  const call = {
    params: {
      rows: x.size / dim,
      dim,
      site,
      threshold: Math.floor(p * 2 ** 32),
      scale: 1 / (1 - p),
      keyed: key.rows ? 1 : 0,
    },
    reads: { x, seed, step, examples, positions },
  };
  if (accumulate) launch(addDropoutMask, { ...call, updates: { out } });
  else launch(dropoutMask, { ...call, writes: { out } });
}
