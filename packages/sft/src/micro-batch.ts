// What a micro-batch computes: forward, loss, and backward into the store's gradients. Recorded as a program, or run eagerly.

import { backward, linearCrossEntropy } from "@tunesmith/autograd";
import type { Batch } from "@tunesmith/data";
import { withDropout } from "@tunesmith/lora";
import { declareTokens, forward, outputHead, tokenValues } from "@tunesmith/models";
import type { DecodeOptions } from "@tunesmith/models";
import type { Inputs, Tensor, TensorData } from "@tunesmith/tensor";
import { counterValues, declareCounters, seedWords } from "./counters.ts";
import { declareNoise, noiseValues } from "./embedding-noise.ts";
import type { LossTerms } from "./loss-terms.ts";
import { rowsFor } from "./step-memory.ts";
import type { StepMemory } from "./step-memory.ts";
import { declareTargets, targetValues } from "./targets.ts";
import type { Tuning } from "./tuning.ts";

/** Where a micro-batch is. */
export interface MicroBatchAt {
  /** of the update, from 0 */
  readonly step: number;
  /** segments in earlier micro-batches of the step: dropout and noise count examples over the whole step */
  readonly firstSegment: number;
}

/** @returns losses per position, `[tokens]` each */
export function computeMicroBatch(
  tuning: Tuning,
  inputs: Inputs,
  tokens: number,
  { memory = {}, terms = {} }: { memory?: StepMemory | undefined; terms?: LossTerms | undefined },
): Readonly<Record<string, Tensor>> {
  const { model, adapter } = tuning;
  const { recompute, chunkRows } = memory;
  const sequence = declareTokens(inputs, tokens);
  const random = randomized(tuning, inputs, { tokens, positions: sequence.positions, terms });
  const hidden = forward(model, sequence, { ...random, recompute });
  const { loss, ...perToken } = linearCrossEntropy(hidden, outputHead(model, adapter), {
    ...declareTargets(inputs, tokens),
    softCap: model.config.logitSoftCap,
    chunkRows: rowsFor(tokens, chunkRows),
    labelSmoothing: terms.labelSmoothing,
    zLoss: terms.zLoss,
  });
  backward(loss);
  return perToken;
}

function randomized(
  { adapter, dropout }: Tuning,
  inputs: Inputs,
  { tokens, positions, terms }: { tokens: number; positions: Tensor; terms: LossTerms },
): DecodeOptions {
  if (!dropout && !terms.noise) return { adapter };
  const counters = declareCounters(inputs, tokens, positions);
  return {
    adapter:
      adapter && dropout
        ? withDropout(adapter, dropout.p, { ...counters, seed: inputs.input("seed", [2], "u32") })
        : adapter,
    onEmbedding: terms.noise && declareNoise(inputs, tokens, counters),
  };
}

/**
 * The inputs that `computeMicroBatch` declares.
 * @param weights - `[T]` share of each target in the step's objective
 */
export function microBatchValues(
  { model, dropout }: Tuning,
  batch: Batch,
  weights: Float32Array,
  { tokens, at, terms: { noise } }: { tokens: number; at: MicroBatchAt; terms: LossTerms },
): Record<string, TensorData> {
  const limits = { vocab: model.config.vocabSize, positions: model.positions };
  return {
    ...tokenValues(batch, tokens, limits),
    ...targetValues(batch, weights, tokens),
    ...(dropout || noise ? counterValues(batch, tokens, at) : {}),
    ...(dropout ? { seed: seedWords(dropout.seed) } : {}),
    ...(noise ? noiseValues(batch, tokens, noise, model.config.hiddenSize) : {}),
  };
}
