import { empty, Tensor } from "@tunesmith/tensor";
import type { Want } from "../tape.ts";

/**
 * Forms the gradient of an input if it is wanted: added to the tensor that was given for it, or as a new one.
 * @param form - writes the gradient to `out`, or adds it where `accumulate`
 * @returns what a backward rule returns for that input
 */
export function gradientFor(
  input: Tensor | undefined,
  want: Want | undefined,
  form: (out: Tensor, accumulate: boolean) => void,
): Tensor | undefined {
  if (!input || !want) return undefined;
  if (want instanceof Tensor) {
    form(want, true);
    return undefined;
  }
  const out = empty(input.device, input.shape);
  form(out, false);
  return out;
}
