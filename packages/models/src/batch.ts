// From token arrays on the host to the inputs of a recorded program. A micro-batch is one flat sequence of T tokens;
// segments fence attention, −1 marks padding. T is rounded up to a bucket, so that few programs serve all batches.

import type { Inputs, Tensor, TensorData } from "@tunesmith/tensor";
import { ModelError } from "./errors.ts";

/** One flat sequence: ids, positions restarting per segment, and a segment id per token (−1 = padding). */
export interface TokenSequence {
  readonly inputIds: Int32Array;
  readonly positionIds: Int32Array;
  readonly segmentIds: Int32Array;
}

/** The same as tensors, with attention's bounds instead of segment ids. */
export interface TokenInputs {
  /** `[T]` i32 */
  readonly ids: Tensor<"i32">;
  /** `[T]` i32 */
  readonly positions: Tensor<"i32">;
  /** `[T]` i32 each: index of the segment's first token (−1 for padding), and one past its last */
  readonly segments: { readonly start: Tensor<"i32">; readonly end: Tensor<"i32"> };
}

const STEPS = [1, 2, 3, 4, 6, 8, 12];

/** The smallest bucket that holds `tokens`: 64 · {1, 2, 3, 4, 6, 8, 12, 16, 24, 32 …}. */
export function tokenBucket(tokens: number): number {
  const blocks = Math.max(1, Math.ceil(tokens / 64));
  for (const step of STEPS) if (blocks <= step) return 64 * step;
  const power = 2 ** Math.floor(Math.log2(blocks));
  return 64 * (blocks <= power ? power : blocks <= 1.5 * power ? 1.5 * power : 2 * power);
}

/** Declares the inputs of a program over `tokens` tokens. */
export function declareTokens(inputs: Inputs, tokens: number): TokenInputs {
  return {
    ids: inputs.input("ids", [tokens], "i32"),
    positions: inputs.input("positions", [tokens], "i32"),
    segments: {
      start: inputs.input("segment_start", [tokens], "i32"),
      end: inputs.input("segment_end", [tokens], "i32"),
    },
  };
}

/**
 * The values of those inputs for one sequence, padded to `tokens`.
 * @throws ModelError `TOKEN_OUT_OF_RANGE` for an id outside the vocabulary, `CONTEXT_TOO_LONG` for a position beyond `limits.positions`:
 *   kernels run without bounds checks, so nothing wrong may reach them
 */
export function tokenValues(
  sequence: TokenSequence,
  tokens: number,
  limits: { vocab: number; positions: number },
): Record<"ids" | "positions" | "segment_start" | "segment_end", TensorData<"i32">> {
  const length = sequence.inputIds.length;
  const ids = new Int32Array(tokens);
  const positions = new Int32Array(tokens);
  const start = new Int32Array(tokens).fill(-1);
  const end = new Int32Array(tokens);
  for (let t = 0; t < length; t++) {
    const segment = sequence.segmentIds[t]!;
    if (segment < 0) continue;
    const id = sequence.inputIds[t]!;
    const position = sequence.positionIds[t]!;
    if (!(id >= 0 && id < limits.vocab))
      throw new ModelError(
        "TOKEN_OUT_OF_RANGE",
        `token ${t} has id ${id}, but the model's vocabulary ends at ${limits.vocab - 1}`,
        {
          received: String(id),
          expected: `0 … ${limits.vocab - 1}`,
          fix: "use the tokenizer that belongs to this model",
        },
      );
    if (!(position >= 0 && position < limits.positions))
      throw new ModelError(
        "CONTEXT_TOO_LONG",
        `token ${t} is at position ${position}, but at most ${limits.positions} positions were prepared`,
        {
          received: String(position),
          expected: `0 … ${limits.positions - 1}`,
          fix: "shorten the text, or lower max_length",
        },
      );
    ids[t] = id;
    positions[t] = position;
    start[t] = t > 0 && sequence.segmentIds[t - 1] === segment ? start[t - 1]! : t;
  }
  for (let t = length - 1; t >= 0; t--) {
    const segment = sequence.segmentIds[t]!;
    if (segment >= 0) end[t] = t + 1 < length && sequence.segmentIds[t + 1] === segment ? end[t + 1]! : t + 1;
  }
  return { ids, positions, segment_start: start, segment_end: end };
}
