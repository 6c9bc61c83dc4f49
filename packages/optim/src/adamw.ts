import { adamwUpdate, launch } from "@tunesmith/tensor";
import type { Optimizer } from "./optimizer.ts";
import { partOf } from "./store.ts";
import { checkRanges, groupScalars, launchUpdate } from "./update.ts";
import type { GroupLaunch } from "./update.ts";

export interface AdamwOptions {
  /** decay rates of the moments, each in [0, 1) */
  readonly betas: readonly [number, number];
  /** added to the root of the second moment, > 0 */
  readonly eps: number;
  /** decoupled weight decay, ≥ 0; parameters with `decay: false` have none */
  readonly weightDecay: number;
  /** gradients are scaled down to this global L2 norm; undefined: no clipping */
  readonly maxGradNorm?: number | undefined;
}

/**
 * AdamW with torch's semantics.
 * @throws OptimError `OPTION_INVALID`
 * @see Loshchilov & Hutter 2017, "Decoupled Weight Decay Regularization", https://arxiv.org/abs/1711.05101
 */
export function adamw({ betas: [beta1, beta2], eps, weightDecay, maxGradNorm }: AdamwOptions): Optimizer {
  checkRanges("adamw", [
    ["betas[0]", beta1, beta1 >= 0 && beta1 < 1, "in [0, 1)"],
    ["betas[1]", beta2, beta2 >= 0 && beta2 < 1, "in [0, 1)"],
    ["eps", eps, eps > 0, "> 0"],
    ["weightDecay", weightDecay, weightDecay >= 0, "≥ 0"],
    ["maxGradNorm", maxGradNorm ?? 1, (maxGradNorm ?? 1) > 0, "> 0, or undefined"],
  ]);
  return {
    moments: ["m", "v"],
    scalars: (layout, at) =>
      groupScalars(layout, at, ({ decay, rate }) => [
        1 - (decay ? at.lr * rate * weightDecay : 0),
        (at.lr * rate) / (1 - beta1 ** at.step),
        Math.sqrt(1 - beta2 ** at.step),
      ]),
    update: (store, scalars) =>
      launchUpdate(store, scalars, maxGradNorm, (group) =>
        launchAdamw(group, { rest1: 1 - beta1, beta2, rest2: 1 - beta2, eps }),
      ),
  };
}

/** AdamW on f32 moments. */
export function launchAdamw(
  { params, reads, shard }: GroupLaunch,
  constants: Readonly<Record<"rest1" | "beta2" | "rest2" | "eps", number>>,
): void {
  const { values, gradients } = shard;
  launch(adamwUpdate, {
    params: { ...params, ...constants },
    reads,
    updates: { values, gradients, m: partOf(shard, "m"), v: partOf(shard, "v") },
  });
}
