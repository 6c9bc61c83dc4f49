import { asWeight, columnSums, empty, matmul, ShapeError, Tensor } from "@tunesmith/tensor";
import type { DenseFormat, Weight } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";
import type { Want } from "../tape.ts";
import { oneView, stackedRows } from "./adjoining.ts";
import { place, take } from "./blocks.ts";
import type { Blocks } from "./blocks.ts";
import { decomposed } from "./decomposed.ts";
import type { DecomposedColumns } from "./decomposed.ts";
import { checkDropout } from "./dropout.ts";
import { gradientFor } from "./gradient-for.ts";
import { lowRankSum } from "./low-rank.ts";
import type { LowRank, Term } from "./low-rank.ts";

export interface LinearOptions {
  /** f32 `[out]` */
  readonly bias?: Tensor | undefined;
  readonly lowRank?: LowRank | undefined;
  /** how the weight is stored; `in_out` is the Conv1D of GPT-2. Default `out_in` */
  readonly layout?: "out_in" | "in_out";
}

/** One of several projections of the same input. */
export interface Projection {
  /** `[out, in]` in any format; trainable if it is a trainable f32 tensor, or a weight whose shards' tensors are */
  readonly weight: Weight | Tensor;
  /** f32 `[out]` */
  readonly bias?: Tensor | undefined;
  readonly lowRank?: LowRank | undefined;
}

/**
 * Projection `y = x·Wᵀ [+ bias] [+ scale·(x·Aᵀ)·Bᵀ]`. The low-rank term is never merged into an effective weight: a
 * frozen W then needs no gradient of its own size. Gradients are formed only where they are wanted, and added
 * straight into a leaf's sink where it has one:
 * dX = dY·W + scale·(dY·B)·A, dW = dYᵀ·X, db = Σ_rows dY, dA = scale·(dY·B)ᵀ·X, dB = scale·dYᵀ·(X·Aᵀ).
 *
 * @param x - activations, `[..., in]`, f32
 * @param weight - `[out, in]` (or `[in, out]`, see `layout`) in any format; trainable if it is a trainable f32 tensor,
 *   or a weight whose shards' tensors are
 * @returns `[..., out]`
 * @throws {@link ShapeError} if weight, bias, A, B or a dropout key does not fit x
 * @see Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", https://arxiv.org/abs/2106.09685
 */
export function linear(x: Tensor, weight: Weight | Tensor, options: LinearOptions = {}): Tensor {
  const { bias, lowRank, layout } = options;
  return project("linear", x, [{ weight, bias, lowRank }], layout !== "in_out");
}

/**
 * Several projections of one input as one: `[y₁ | y₂ | …]`, side by side in one tensor. Matrices that adjoin in memory
 * are multiplied in one launch, all low-rank terms share their products, and the gradient of x is formed once.
 * `splitHeads` and `gatedLinearUnit` take such a tensor apart.
 *
 * @param x - activations, `[..., in]`, f32
 * @returns `[..., Σ out]`
 * @throws {@link ShapeError} if a weight, bias, A, B or a dropout key does not fit x
 */
export function linearMany(x: Tensor, projections: readonly Projection[]): Tensor {
  return project("linearMany", x, projections, true);
}

/** A projection with its place in the output. */
interface Piece {
  readonly weight: Weight;
  readonly bias: Tensor | undefined;
  readonly firstOut: number;
  readonly outs: number;
}

function project(op: string, x: Tensor, projections: readonly Projection[], outIn: boolean): Tensor {
  const { device } = x;
  const ins = x.shape.at(-1) ?? 1;
  const rows = x.size / ins;
  const pieces: Piece[] = [];
  const terms: Term[] = [];
  let outs = 0;
  let rank = 0;
  for (const [i, { weight, bias, lowRank }] of projections.entries()) {
    const w = weight instanceof Tensor ? asWeight(weight as Tensor<DenseFormat>) : weight;
    const own = w.shape[outIn ? 0 : 1];
    check(op, projections.length > 1 ? `projections[${i}].` : "", x, w, outIn, { bias, lowRank });
    pieces.push({ weight: w, bias, firstOut: outs, outs: own });
    if (lowRank) {
      const r = lowRank.a.shape[0]!;
      terms.push({ lowRank, firstOut: outs, outs: own, firstRank: rank, rank: r });
      rank += r;
    }
    outs += own;
  }

  if (terms.some(({ lowRank }) => lowRank.magnitude)) {
    const plain = projections.map(({ weight, lowRank }) => ({
      weight,
      lowRank: lowRank && { ...lowRank, magnitude: undefined },
    }));
    const z = project(op, x, plain, outIn);
    const columns = pieces.map((piece, i) => ({ ...piece, lowRank: withMagnitude(projections[i]!.lowRank) }));
    return decomposed(z, columns, outIn);
  }

  const flatX = x.reshape([rows, ins]);
  const flatY = empty(device, [rows, outs]);
  const low = terms.length > 0 ? lowRankSum(flatX, terms, outs) : undefined;
  const parts = outIn ? stackedRows(pieces.map((p) => p.weight)) : [pieces[0]!.weight];
  const bias = stackedBias(pieces, outs);
  const alone = parts.length === 1;
  for (const [i, part] of parts.entries())
    matmul({
      layout: outIn ? "nt" : "nn",
      a: flatX,
      b: part,
      ...(alone ? low?.joined : undefined),
      out: flatY,
      bias,
      unfinished: i + 1 < parts.length,
    });
  if (!alone && low) matmul({ ...low.alone, out: flatY, accumulate: true });

  const y = flatY.reshape([...x.shape.slice(0, -1), outs]);
  const shards = pieces.flatMap(({ weight, firstOut }) =>
    weight.shards.map((s) => ({ tensor: s.tensor, firstRow: s.firstRow + (outIn ? firstOut : 0) })),
  );
  const biased = pieces.filter((p) => p.bias !== undefined);
  const inputs = [
    x,
    ...shards.map((s) => s.tensor),
    ...biased.map((p) => p.bias!),
    ...terms.map((t) => t.lowRank.a),
    ...terms.map((t) => t.lowRank.b),
  ];
  differentiable({ inputs, outputs: [y] }, ([dOutput], wants) => {
    const dY = dOutput!.reshape([rows, outs]);
    const rest = wants.slice(1);
    const wantShards = rest.splice(0, shards.length);
    const wantBiases = rest.splice(0, biased.length);
    const wantA = rest.splice(0, terms.length);
    const lowGradients = low?.backward(dY, { x: wants[0]!, a: wantA, b: rest });

    const dShards = shards.map(({ tensor, firstRow }, i) =>
      gradientFor(tensor, wantShards[i], (out, accumulate) => {
        const [a, b] = outIn ? [dY, flatX] : [flatX, dY];
        matmul({ layout: "tn", a, b, out, firstRow, accumulate });
      }),
    );
    const dBiases = biasGradients(biased, wantBiases, dY);
    const dX = gradientFor(x, wants[0], (sink, accumulate) => {
      const out = sink.reshape([rows, ins]);
      for (const [i, part] of parts.entries())
        matmul({
          layout: outIn ? "nn" : "nt",
          a: dY,
          b: part,
          plus: i === 0 ? lowGradients?.plus : undefined,
          out,
          accumulate: accumulate || i > 0,
        });
      lowGradients?.addTo(out);
    });
    return [dX, ...dShards, ...dBiases, ...(lowGradients ? [...lowGradients.dA, ...lowGradients.dB] : [])];
  });
  return y;
}

function withMagnitude(lowRank: LowRank | undefined): DecomposedColumns["lowRank"] {
  return lowRank?.magnitude && { ...lowRank, magnitude: lowRank.magnitude };
}

/** All biases one after the other, zeros where there is none; undefined where there are none at all. */
function stackedBias(pieces: readonly Piece[], outs: number): Tensor | undefined {
  const biases = pieces.map((p) => p.bias);
  const first = biases.find((b) => b !== undefined);
  if (!first) return undefined;
  const view = biases.every((b) => b !== undefined) && oneView(biases, [outs]);
  if (view) return view;
  const out = empty(first.device, [outs]);
  for (const [i, piece] of pieces.entries())
    place(out, column(piece), piece.bias ?? first, { unfinished: i + 1 < pieces.length });
  return out;
}

/** A piece's part of a vector, as rows of a matrix of one column; without columns where it has no bias. */
function column({ firstOut, outs, bias }: Piece): Blocks {
  return { sizes: [outs], cols: bias ? 1 : 0, firstRow: firstOut, firstCol: 0, step: 0, scale: 1 };
}

function biasGradients(biased: readonly Piece[], wants: readonly Want[], dY: Tensor): (Tensor | undefined)[] {
  const outs = dY.shape[1]!;
  if (biased[0]?.outs === outs)
    return [gradientFor(biased[0].bias, wants[0], (out, accumulate) => columnSums({ x: dY, out, accumulate }))];
  if (!wants.some(Boolean)) return biased.map(() => undefined);
  const matrix = empty(dY.device, [outs]);
  columnSums({ x: dY, out: matrix });
  const gradients = biased.map((piece, i) =>
    gradientFor(piece.bias, wants[i], (blocks, accumulate) => take(matrix, column(piece), blocks, { accumulate })),
  );
  matrix.dispose();
  return gradients;
}

function check(
  op: string,
  at: string,
  x: Tensor,
  weight: Weight,
  outIn: boolean,
  { bias, lowRank }: Pick<Projection, "bias" | "lowRank">,
): void {
  const [outs, ins] = outIn ? weight.shape : ([weight.shape[1], weight.shape[0]] as const);
  const rank = lowRank?.a.shape[0] ?? 0;
  const because = `x is [${x.shape.join(", ")}] and the weight [${weight.shape.join(", ")}]`;
  if (x.shape.at(-1) !== ins)
    throw new ShapeError({ op, arg: "x", received: x.shape, expected: ["...", ins], because });
  const others = [
    ["lowRank.magnitude.values", lowRank?.magnitude?.values, [outs]],
    ["lowRank.magnitude.squaredNorms", lowRank?.magnitude?.squaredNorms, [outs]],
    ["bias", bias, [outs]],
    ["lowRank.a", lowRank?.a, [rank, ins]],
    ["lowRank.b", lowRank?.b, [outs, rank]],
  ] as const;
  for (const [arg, tensor, expected] of others)
    if (tensor && tensor.shape.join() !== expected.join())
      throw new ShapeError({ op, arg: `${at}${arg}`, received: tensor.shape, expected, because });
  if (lowRank?.dropout) checkDropout(op, x, lowRank.dropout.p, lowRank.dropout.key);
}
