// NEFTune: noise on the embedding while training. Jain et al. 2023, https://arxiv.org/abs/2310.05914

import { addNoise } from "@tunesmith/autograd";
import type { DropoutKey } from "@tunesmith/autograd";
import { siteId } from "@tunesmith/core";
import type { Batch } from "@tunesmith/data";
import type { Inputs, Tensor, TensorData } from "@tunesmith/tensor";
import { segmentCount, seedWords } from "./counters.ts";

export interface EmbeddingNoise {
  /** noise is uniform in ± alpha / √(tokens of the example · dim); > 0, the paper takes 5, 10 and 15 */
  readonly alpha: number;
  readonly seed: number;
}

const SITE = siteId("embedding", "neftune");

/** Declares its inputs for a program over `tokens` tokens. @returns what `forward` does to the embedding */
export function declareNoise(
  inputs: Inputs,
  tokens: number,
  counters: Omit<DropoutKey, "site" | "seed">,
): (embedded: Tensor) => Tensor {
  const seed = inputs.input("noise_seed", [2], "u32");
  const magnitudes = inputs.input("noise", [tokens], "f32");
  return (embedded) => addNoise(embedded, magnitudes, { ...counters, seed, site: SITE });
}

/**
 * Their values, padded to `tokens`; padding gets no noise.
 * @param dim - of the embedding
 */
export function noiseValues(
  batch: Pick<Batch, "segmentIds">,
  tokens: number,
  { alpha, seed }: EmbeddingNoise,
  dim: number,
): Record<"noise_seed" | "noise", TensorData> {
  const lengths = new Float64Array(segmentCount(batch));
  for (const segment of batch.segmentIds) if (segment >= 0) lengths[segment]!++;
  const noise = new Float32Array(tokens);
  for (const [t, segment] of batch.segmentIds.entries())
    if (segment >= 0) noise[t] = alpha / Math.sqrt(lengths[segment]! * dim);
  return { noise_seed: seedWords(seed), noise };
}
