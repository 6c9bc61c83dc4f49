import { empty, joinHeads, launch, ShapeError, splitHeads as splitKernel } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";
import { filled } from "./filled.ts";

export interface SplitHeadsOptions {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** the rotary embedding of q and k, as in `rope`; absent: nothing is turned */
  readonly rotary?:
    | {
        /** `[tokens]`, i32 */
        readonly positions: Tensor<"i32">;
        /** `[positions, half]`, f32, half at most headDim / 2; see `ropeTables` */
        readonly cosines: Tensor;
        /** like `cosines` */
        readonly sines: Tensor;
      }
    | undefined;
}

/**
 * Takes q, k and v out of one projection `[q | k | v]`, as `linearMany` makes it, and applies the rotary embedding to q
 * and k on the way.
 *
 * @param x - `[tokens, (heads + 2 · kvHeads) · headDim]`, f32
 * @returns q `[tokens, heads · headDim]`, k and v `[tokens, kvHeads · headDim]`
 * @throws {@link ShapeError} if x, positions or the tables do not fit
 * @see `rope`
 */
export function splitHeads(x: Tensor, options: SplitHeadsOptions): { q: Tensor; k: Tensor; v: Tensor } {
  const { heads, kvHeads, headDim, rotary } = options;
  const { device } = x;
  const [tokens = 0] = x.shape;
  const check = (arg: string, tensor: Tensor, expected: readonly number[], because: string): void => {
    if (tensor.shape.join() !== expected.join())
      throw new ShapeError({ op: "splitHeads", arg, received: tensor.shape, expected, because });
  };
  const columns = (heads + 2 * kvHeads) * headDim;
  check("x", x, [tokens, columns], `there are ${heads} heads and twice ${kvHeads} key heads of ${headDim}`);
  const [rows = 1, half = 0] = rotary?.cosines.shape ?? [];
  if (rotary) {
    check("positions", rotary.positions, [tokens], "each token has one");
    if (rows < 1 || half < 1 || 2 * half > headDim)
      check("cosines", rotary.cosines, [Math.max(1, rows), Math.floor(headDim / 2)], "one angle turns a pair");
    check("sines", rotary.sines, rotary.cosines.shape, "both tables have a row per position");
  }
  const vectors = headDim % 4 === 0 && half % 4 === 0;
  const elements = (n: number): number => (vectors ? n / 4 : n);
  const spec = { vectors };
  const params = {
    tokens,
    heads,
    kv_heads: kvHeads,
    width: elements(half),
    stride: elements(headDim),
    table_rows: rows,
    turned: rotary ? 1 : 0,
  };
  // where nothing is turned, something must still be bound
  const tables = rotary ?? { positions: x, cosines: x, sines: x };
  const part = (n: number): Tensor => empty(device, [tokens, n * headDim]);
  const [q, k, v] = [part(heads), part(kvHeads), part(kvHeads)];
  launch(splitKernel, {
    spec,
    params,
    reads: { joined: x, positions: tables.positions, cosines: tables.cosines, sines: tables.sines },
    writes: { q, k, v },
  });

  differentiable({ inputs: [x], outputs: [q, k, v] }, (gradients) => {
    const [dq, dk, dv] = [q, k, v].map((t, i) => gradients[i] ?? filled(device, t.shape, 0)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const joined = empty(device, x.shape);
    launch(joinHeads, {
      spec,
      params,
      reads: { q: dq, k: dk, v: dv, positions: tables.positions, cosines: tables.cosines, sines: tables.sines },
      writes: { joined },
    });
    return [joined];
  });
  return { q, k, v };
}
