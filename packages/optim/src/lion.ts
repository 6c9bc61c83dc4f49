import { launch, lionUpdate } from "@tunesmith/tensor";
import type { Optimizer } from "./optimizer.ts";
import { partOf } from "./store.ts";
import { checkRanges, groupScalars, launchUpdate } from "./update.ts";

export interface LionOptions {
  /** of the sign's average and of the moment, each in [0, 1) */
  readonly betas: readonly [number, number];
  /** decoupled weight decay, ≥ 0; parameters with `decay: false` have none */
  readonly weightDecay: number;
  /** gradients are scaled down to this global L2 norm; undefined: no clipping */
  readonly maxGradNorm?: number | undefined;
}

/**
 * Lion: one moment, and every parameter moves by the rate. Wants a rate 3 to 10 times smaller than AdamW's.
 * @throws OptimError `OPTION_INVALID`
 * @see Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", https://arxiv.org/abs/2302.06675
 */
export function lion({ betas: [beta1, beta2], weightDecay, maxGradNorm }: LionOptions): Optimizer {
  checkRanges("lion", [
    ["betas[0]", beta1, beta1 >= 0 && beta1 < 1, "in [0, 1)"],
    ["betas[1]", beta2, beta2 >= 0 && beta2 < 1, "in [0, 1)"],
    ["weightDecay", weightDecay, weightDecay >= 0, "≥ 0"],
    ["maxGradNorm", maxGradNorm ?? 1, (maxGradNorm ?? 1) > 0, "> 0, or undefined"],
  ]);
  return {
    moments: ["m"],
    scalars: (layout, at) =>
      groupScalars(layout, at, ({ decay, rate }) => [1 - (decay ? at.lr * rate * weightDecay : 0), at.lr * rate, 0]),
    update: (store, scalars) =>
      launchUpdate(store, scalars, maxGradNorm, ({ params, reads, shard }) =>
        launch(lionUpdate, {
          params: { ...params, beta1, rest1: 1 - beta1, beta2, rest2: 1 - beta2 },
          reads,
          updates: { values: shard.values, gradients: shard.gradients, m: partOf(shard, "m") },
        }),
      ),
  };
}
