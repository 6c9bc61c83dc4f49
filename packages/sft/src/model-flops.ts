// FLOPs that a training step needs whatever runs it: the numerator of model FLOPs utilization (Chowdhery et al. 2022,
// "PaLM", appendix B, https://arxiv.org/abs/2204.02311). Padding, recomputation and elementwise work do not count.

import { isTracked } from "@tunesmith/autograd";
import type { Batch } from "@tunesmith/data";
import { linearPaths, outputHead } from "@tunesmith/models";
import type { Tensor, Weight } from "@tunesmith/tensor";
import type { Tuning } from "./tuning.ts";

/** A product of a forward pass is repeated for the gradient of its input, and for that of its weight if it is trained. */
const FROZEN = 2 + 2;
const TRAINED = 2 + 2 + 2;
/** Scores and mix, then the gradients of weights, values, queries and keys. */
const ATTENTION = 2 * (2 + 4);

/**
 * FLOPs of one optimizer step: two per multiply-add in linear layers, low-rank terms, attention between the pairs of
 * positions that see each other, and the output head at positions with a target.
 */
export function modelFlops(
  { model, adapter }: Pick<Tuning, "model" | "adapter">,
  window: readonly Pick<Batch, "tokens" | "segmentIds" | "targetRows">[],
): number {
  const { config } = model;
  let perToken = 0;
  for (const [path, size] of linearPaths(config))
    perToken += size.in * size.out * perElement(model.parameters.get(`${path}.weight`));
  for (const { a, b } of adapter?.modules.values() ?? []) perToken += TRAINED * (a.size + b.size);
  const { weight: head, changed } = outputHead(model, adapter);
  const perTarget =
    config.vocabSize * config.hiddenSize * perElement(head) + (TRAINED - FROZEN) * (changed?.changes.size ?? 0);
  const perPair = ATTENTION * config.heads * config.headDim;

  let flops = 0;
  for (const batch of window) {
    flops += perToken * batch.tokens + perTarget * batch.targetRows.length;
    const lengths = segmentLengths(batch.segmentIds);
    for (const seen of config.windows) flops += perPair * lengths.reduce((sum, length) => sum + pairs(length, seen), 0);
  }
  return flops;
}

function perElement(weight: Tensor | Weight | undefined): number {
  const tensors = weight === undefined ? [] : "shards" in weight ? weight.shards.map((s) => s.tensor) : [weight];
  return tensors.some(isTracked) ? TRAINED : FROZEN;
}

/** Pairs of a query and a key in a segment: each position sees itself and those before it, at most `window`. */
function pairs(length: number, window: number = length): number {
  const full = Math.min(length, window);
  return (full * (full + 1)) / 2 + (length - full) * full;
}

function segmentLengths(segmentIds: Int32Array): number[] {
  const lengths: number[] = [];
  for (const [t, id] of segmentIds.entries()) {
    if (id < 0) continue;
    if (t > 0 && segmentIds[t - 1] === id) lengths[lengths.length - 1]!++;
    else lengths.push(1);
  }
  return lengths;
}
