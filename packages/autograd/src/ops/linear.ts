import { asWeight, columnSums, empty, matmul, ShapeError, Tensor } from "@tunesmith/tensor";
import type { DenseFormat, Weight } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";
import type { Want } from "../tape.ts";
import { gradientFor } from "./gradient-for.ts";

/** A low-rank term of a projection: `scale · (x·Aᵀ)·Bᵀ`. */
export interface LowRank {
  /** f32 `[rank, in]` */
  readonly a: Tensor;
  /** f32 `[out, rank]` */
  readonly b: Tensor;
  readonly scale: number;
}

export interface LinearOptions {
  /** f32 `[out]` */
  readonly bias?: Tensor | undefined;
  readonly lowRank?: LowRank | undefined;
  /** how the weight is stored; `in_out` is the Conv1D of GPT-2. Default `out_in` */
  readonly layout?: "out_in" | "in_out";
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
 * @throws {@link ShapeError} if weight, bias, A or B does not fit x
 * @see Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", https://arxiv.org/abs/2106.09685
 */
export function linear(x: Tensor, weight: Weight | Tensor, options: LinearOptions = {}): Tensor {
  const { bias, lowRank } = options;
  const outIn = options.layout !== "in_out";
  const w = weight instanceof Tensor ? asWeight(weight as Tensor<DenseFormat>) : weight;
  const [outs, ins] = outIn ? w.shape : ([w.shape[1], w.shape[0]] as const);
  const rank = lowRank?.a.shape[0] ?? 0;
  checkShapes(x, w, ins, [
    ["bias", bias, [outs]],
    ["lowRank.a", lowRank?.a, [rank, ins]],
    ["lowRank.b", lowRank?.b, [outs, rank]],
  ]);

  const { device } = x;
  const rows = x.size / ins;
  const flatX = x.reshape([rows, ins]);
  const flatY = empty(device, [rows, outs]);
  // scale·x·Aᵀ, which dB needs again; it carries the scale, so that u·Bᵀ can join the sum of x·Wᵀ
  let u: Tensor | undefined;
  if (lowRank) {
    u = empty(device, [rows, rank]);
    matmul({ layout: "nt", a: flatX, b: lowRank.a, out: u, scale: lowRank.scale });
  }
  matmul({
    layout: outIn ? "nt" : "nn",
    a: flatX,
    b: w,
    plus: lowRank && u && { layout: "nt", a: u, b: lowRank.b },
    out: flatY,
    bias,
  });

  const y = flatY.reshape([...x.shape.slice(0, -1), outs]);
  const shards = w.shards.map((shard) => shard.tensor);
  const inputs = [x, ...shards, bias, lowRank?.a, lowRank?.b];
  const present = inputs.filter((t) => t !== undefined);
  differentiable({ inputs: present, outputs: [y] }, ([dOutput], wants) => {
    const dy = dOutput!.reshape([rows, outs]);
    const next = wants.values();
    const [wantX, ...rest] = inputs.map((t): Want => (t ? next.next().value! : false));
    const [wantBias, wantA, wantB] = rest.slice(shards.length);

    const dShards = w.shards.map(({ tensor, firstRow }, i) =>
      gradientFor(tensor, rest[i], (out, accumulate) => {
        const [a, b] = outIn ? [dy, flatX] : [flatX, dy];
        matmul({ layout: "tn", a, b, out, firstRow, accumulate });
      }),
    );
    const dBias = gradientFor(bias, wantBias, (out, accumulate) => columnSums({ x: dy, out, accumulate }));
    // scale·dY·B, which both dX and dA need
    let v: Tensor | undefined;
    if (lowRank && (wantX || wantA)) {
      v = empty(device, [rows, rank]);
      matmul({ layout: "nn", a: dy, b: lowRank.b, out: v, scale: lowRank.scale });
    }
    const dA = gradientFor(lowRank?.a, wantA, (out, accumulate) =>
      matmul({ layout: "tn", a: v!, b: flatX, out, accumulate }),
    );
    const dB = gradientFor(lowRank?.b, wantB, (out, accumulate) =>
      matmul({ layout: "tn", a: dy, b: u!, out, accumulate }),
    );
    const dX = gradientFor(x, wantX, (sink, accumulate) => {
      const plus = lowRank && v && ({ layout: "nn", a: v, b: lowRank.a } as const);
      matmul({ layout: outIn ? "nn" : "nt", a: dy, b: w, plus, out: sink.reshape([rows, ins]), accumulate });
    });
    return [dX, ...dShards, dBias, dA, dB].filter((_, i) => inputs[i] !== undefined);
  });
  return y;
}

function checkShapes(
  x: Tensor,
  weight: Weight,
  ins: number,
  others: readonly (readonly [arg: string, tensor: Tensor | undefined, expected: readonly number[]])[],
): void {
  const because = `x is [${x.shape.join(", ")}] and the weight [${weight.shape.join(", ")}]`;
  if (x.shape.at(-1) !== ins)
    throw new ShapeError({
      op: "linear",
      arg: "x",
      received: x.shape,
      expected: ["...", ins],
      because,
    });
  for (const [arg, tensor, expected] of others)
    if (tensor && tensor.shape.join() !== expected.join())
      throw new ShapeError({ op: "linear", arg, received: tensor.shape, expected, because });
}
