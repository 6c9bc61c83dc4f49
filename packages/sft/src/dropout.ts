// What dropout masks are drawn from, as inputs of a micro-batch program: (seed, step, example in step, position), so that
// they do not depend on how a step is cut into micro-batches or how examples are packed.

import type { DropoutKey } from "@tunesmith/autograd";
import type { Batch } from "@tunesmith/data";
import type { Inputs, Tensor, TensorData } from "@tunesmith/tensor";

/** Declares them for a program over `tokens` tokens. */
export function declareDropout(inputs: Inputs, tokens: number, positions: Tensor): Omit<DropoutKey, "site"> {
  return {
    seed: inputs.input("seed", [2], "u32"),
    step: inputs.input("step", [1], "u32"),
    rows: { examples: inputs.input("examples", [tokens], "i32"), positions },
  };
}

/**
 * Their values, padded to `tokens`.
 * @param at.step - of the update, from 0
 * @param at.firstSegment - segments in earlier micro-batches of the step
 */
export function dropoutValues(
  { segmentIds }: Pick<Batch, "segmentIds">,
  tokens: number,
  at: { readonly seed: number; readonly step: number; readonly firstSegment: number },
): Record<"seed" | "step" | "examples", TensorData> {
  const examples = new Int32Array(tokens);
  examples.set(segmentIds.map((segment) => (segment < 0 ? 0 : at.firstSegment + segment)));
  return {
    seed: Uint32Array.of(at.seed >>> 0, Math.floor(at.seed / 2 ** 32)),
    step: Uint32Array.of(at.step),
    examples,
  };
}

/** Segments of a micro-batch. */
export function segmentCount({ segmentIds }: Pick<Batch, "segmentIds">): number {
  return segmentIds.reduce((most, segment) => Math.max(most, segment), -1) + 1;
}
