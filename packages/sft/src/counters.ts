// Where a micro-batch lies in the streams of random numbers, as inputs of its program: (seed, step, example in step, position),
// so that no draw depends on how a step is cut into micro-batches or how examples are packed.

import type { DropoutKey } from "@tunesmith/autograd";
import type { Batch } from "@tunesmith/data";
import type { Inputs, Tensor, TensorData } from "@tunesmith/tensor";

/** Declares them for a program over `tokens` tokens. */
export function declareCounters(
  inputs: Inputs,
  tokens: number,
  positions: Tensor,
): Required<Omit<DropoutKey, "site" | "seed">> {
  return {
    step: inputs.input("step", [1], "u32"),
    rows: { examples: inputs.input("examples", [tokens], "i32"), positions },
  };
}

/**
 * Their values, padded to `tokens`.
 * @param at.step - of the update, from 0
 * @param at.firstSegment - segments in earlier micro-batches of the step
 */
export function counterValues(
  { segmentIds }: Pick<Batch, "segmentIds">,
  tokens: number,
  at: { readonly step: number; readonly firstSegment: number },
): Record<"step" | "examples", TensorData> {
  const examples = new Int32Array(tokens);
  examples.set(segmentIds.map((segment) => (segment < 0 ? 0 : at.firstSegment + segment)));
  return { step: Uint32Array.of(at.step), examples };
}

/** A seed as the two words of a key. */
export function seedWords(seed: number): Uint32Array<ArrayBuffer> {
  return Uint32Array.of(seed >>> 0, Math.floor(seed / 2 ** 32));
}

/** Segments of a micro-batch. */
export function segmentCount({ segmentIds }: Pick<Batch, "segmentIds">): number {
  return segmentIds.reduce((most, segment) => Math.max(most, segment), -1) + 1;
}
