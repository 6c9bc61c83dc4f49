// Weight-decomposed low-rank adaptation: each output of a projection has a trained magnitude, and the low-rank term turns
// its direction. Liu et al. 2024, "DoRA", https://arxiv.org/abs/2402.09353. As in PEFT the norm of the adapted weight is a
// constant to backward (section 4.3 there), and the bias is not scaled.

import {
  columnSums,
  decomposedFactor,
  divideInto,
  empty,
  launch,
  matmul,
  multiply,
  scaleColumns,
  type Tensor,
  type Weight,
} from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";
import { gradientFor } from "./gradient-for.ts";
import type { LowRank } from "./low-rank.ts";

/** The magnitudes of a projection's outputs. */
export interface Magnitude {
  /** f32 `[out]`, trained */
  readonly values: Tensor;
  /** f32 `[out]`: ‖W‖² of each output's weights, a constant of the base */
  readonly squaredNorms: Tensor;
}

/** Some columns of a projection's output. */
export interface DecomposedColumns {
  readonly weight: Weight;
  readonly bias: Tensor | undefined;
  /** undefined: these columns are only given their bias */
  readonly lowRank: (LowRank & { readonly magnitude: Magnitude }) | undefined;
  readonly firstOut: number;
  readonly outs: number;
}

/**
 * y = m / ‖W + s·B·A‖ ∘ z + bias, column by column.
 * @param z - `[..., out]`: x·Wᵀ + s·(x·Aᵀ)·Bᵀ, without bias
 */
export function decomposed(z: Tensor, columns: readonly DecomposedColumns[], outIn: boolean): Tensor {
  const { device } = z;
  const outs = z.shape.at(-1)!;
  const rows = z.size / outs;
  const factors = columns.map(({ weight, lowRank }) => lowRank && factorOf(weight, lowRank, outIn));
  const scaled = (x: Tensor, biased: boolean): Tensor => {
    const out = empty(device, z.shape);
    for (const [i, part] of columns.entries()) {
      const factor = factors[i]?.factor;
      const bias = biased ? part.bias : undefined;
      launch(scaleColumns, {
        params: {
          n: rows * part.outs,
          cols: part.outs,
          stride: outs,
          first: part.firstOut,
          scaled: factor ? 1 : 0,
          biased: bias ? 1 : 0,
        },
        reads: { x, factor: factor ?? x, bias: bias ?? x },
        updates: { y: out },
        unfinished: i + 1 < columns.length,
      });
    }
    return out;
  };
  const y = scaled(z, true);
  const magnitudes = columns.map((part) => part.lowRank?.magnitude.values);
  const inputs = [z, ...magnitudes.filter((m) => m !== undefined)];
  differentiable({ inputs, outputs: [y] }, ([dY], [wantZ, ...wants]) => {
    const own = wants.values();
    const wantOf = magnitudes.map((m) => (m ? own.next().value! : false));
    let sums: Tensor | undefined;
    if (wants.some(Boolean)) {
      const products = empty(device, [rows, outs]);
      launch(multiply, { params: { n: rows * outs }, reads: { a: dY!, b: z }, writes: { out: products } });
      sums = empty(device, [outs]);
      columnSums({ x: products, out: sums });
    }
    const dMagnitudes = magnitudes.flatMap((m, i) =>
      m
        ? [
            gradientFor(m, wantOf[i], (out, accumulate) =>
              launch(divideInto, {
                params: { n: m.size, first: columns[i]!.firstOut, accumulate: accumulate ? 1 : 0 },
                reads: { x: sums!, y: factors[i]!.norm },
                updates: { out },
              }),
            ),
          ]
        : [],
    );
    return [wantZ ? scaled(dY!, false) : undefined, ...dMagnitudes];
  });
  return y;
}

function factorOf(
  weight: Weight,
  { a, b, scale, magnitude }: LowRank & { readonly magnitude: Magnitude },
  outIn: boolean,
): { factor: Tensor; norm: Tensor } {
  const { device } = a;
  const rank = a.shape[0]!;
  const n = b.shape[0]!;
  const wa = empty(device, [rank, n]);
  matmul({ layout: outIn ? "nt" : "nn", a, b: weight, out: wa });
  const gram = empty(device, [rank, rank]);
  matmul({ layout: "nt", a, b: a, out: gram });
  const baa = empty(device, [n, rank]);
  matmul({ layout: "nn", a: b, b: gram, out: baa });
  const factor = empty(device, [n]);
  const norm = empty(device, [n]);
  launch(decomposedFactor, {
    params: { n, rank, scale },
    reads: { magnitude: magnitude.values, squared: magnitude.squaredNorms, b, wa, baa },
    writes: { factor, norm },
  });
  for (const tensor of [wa, gram, baa]) tensor.dispose();
  return { factor, norm };
}
