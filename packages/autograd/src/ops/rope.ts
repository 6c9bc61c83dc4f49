import { empty, launch, ropeKernel, ShapeError } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { differentiable } from "../tape.ts";

export interface RopeOptions {
  /** `[tokens]`, i32: position of each token in its own segment, in [0, rows of the tables) */
  readonly positions: Tensor<"i32">;
  /** `[positions, half]`, f32, half at most headDim / 2; see {@link ropeTables} */
  readonly cosines: Tensor;
  /** like `cosines` */
  readonly sines: Tensor;
  readonly heads: number;
  readonly headDim: number;
}

/**
 * Rotary position embedding in the half-split layout of Hugging Face's Llama: element i of the first half of a head
 * is paired with element i of the second half and turned by the angle of the token's position. Tables of fewer than
 * headDim / 2 columns turn the first 2 · columns numbers of each head; the others pass.
 *
 * Positions outside the tables are read as the nearest row: whoever makes the batch checks its length.
 *
 * @param x - queries or keys, `[tokens, heads · headDim]`, f32
 * @returns like `x`
 * @throws {@link ShapeError} if `x`, `positions` or the tables do not fit `heads` and `headDim`
 * @see Su et al. 2021, "RoFormer", https://arxiv.org/abs/2104.09864 (which pairs neighbours instead)
 */
export function rope(x: Tensor, options: RopeOptions): Tensor {
  const { positions, cosines, sines, heads, headDim } = options;
  const tokens = positions.size;
  const half = cosines.shape.at(-1) ?? 0;
  const check = (arg: string, tensor: Tensor, expected: readonly number[], because: string): void => {
    if (tensor.shape.join() !== expected.join())
      throw new ShapeError({ op: "rope", arg, received: tensor.shape, expected, because });
  };
  check("x", x, [tokens, heads * headDim], `there are ${tokens} positions and ${heads} heads of ${headDim}`);
  const rows = cosines.shape[0] ?? 0;
  if (cosines.shape.length !== 2 || rows < 1 || half < 1 || 2 * half > headDim)
    check(
      "cosines",
      cosines,
      [Math.max(1, rows), Math.floor(headDim / 2)],
      "one angle turns a pair of a head's numbers",
    );
  check("sines", sines, cosines.shape, "both tables have a row per position");

  const vectors = half % 4 === 0 && headDim % 4 === 0;
  const elements = (n: number): number => (vectors ? n / 4 : n);
  const turn = (from: Tensor, direction: 1 | -1): Tensor => {
    const y = empty(from.device, from.shape);
    launch(ropeKernel, {
      spec: { vectors },
      params: { tokens, heads, width: elements(half), stride: elements(headDim), table_rows: rows, direction },
      reads: { x: from, positions, cosines, sines },
      writes: { y },
    });
    return y;
  };
  const y = turn(x, 1);
  // the backward of a rotation is the rotation back
  differentiable({ inputs: [x], outputs: [y] }, ([dy], [want]) => [want ? turn(dy!, -1) : undefined]);
  return y;
}

/**
 * Tables for {@link rope}, computed in float64 and rounded once.
 *
 * @param inverseFrequencies - `[headDim / 2]`, radians per position; a model's rope scaling is already in them
 * @param positions - number of rows: the longest segment
 * @param attentionScaling - multiplies both tables (YaRN's attention factor); 1 for all others
 * @returns cosines and sines, `[positions, headDim / 2]`
 */
export function ropeTables(
  inverseFrequencies: ArrayLike<number>,
  positions: number,
  attentionScaling: number = 1,
): { cosines: Float32Array; sines: Float32Array } {
  const half = inverseFrequencies.length;
  const cosines = new Float32Array(positions * half);
  const sines = new Float32Array(positions * half);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < half; i++) {
      const angle = position * inverseFrequencies[i]!;
      cosines[position * half + i] = attentionScaling * Math.cos(angle);
      sines[position * half + i] = attentionScaling * Math.sin(angle);
    }
  }
  return { cosines, sines };
}
