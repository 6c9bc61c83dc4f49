// Targets and weights of a micro-batch as inputs of a recorded program.

import type { Inputs, Tensor, TensorData } from "@tunesmith/tensor";

/** What the loss of a program reads. */
export interface TargetInputs {
  /** `[T]` i32, already shifted; −100 = none */
  readonly targets: Tensor<"i32">;
  /** `[T]` f32: weight of each target in the objective */
  readonly weights: Tensor<"f32">;
  /** `[T]` i32: positions with a target, ascending, then −1 */
  readonly rows: Tensor<"i32">;
}

/** Declares them for a program over `tokens` tokens. */
export function declareTargets(inputs: Inputs, tokens: number): TargetInputs {
  return {
    targets: inputs.input("targets", [tokens], "i32"),
    weights: inputs.input("weights", [tokens], "f32"),
    rows: inputs.input("rows", [tokens], "i32"),
  };
}

/** Their values, padded to `tokens`. */
export function targetValues(
  batch: { readonly targets: Int32Array; readonly targetRows: Int32Array },
  weights: Float32Array,
  tokens: number,
): Record<"targets" | "weights" | "rows", TensorData> {
  const targets = new Int32Array(tokens).fill(-100);
  targets.set(batch.targets);
  const padded = new Float32Array(tokens);
  padded.set(weights);
  const rows = new Int32Array(tokens).fill(-1);
  rows.set(batch.targetRows);
  return { targets, weights: padded, rows };
}
