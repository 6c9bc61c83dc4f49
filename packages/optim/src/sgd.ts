import { launch, sgdMomentumUpdate, sgdUpdate } from "@tunesmith/tensor";
import type { Optimizer } from "./optimizer.ts";
import { partOf } from "./store.ts";
import { checkRanges, groupScalars, launchUpdate } from "./update.ts";

export interface SgdOptions {
  /** in [0, 1); 0 keeps no moment */
  readonly momentum: number;
  readonly nesterov?: boolean;
  /** added to the gradient as decay · x (L2, as torch does it), ≥ 0; parameters with `decay: false` have none */
  readonly weightDecay: number;
  /** gradients are scaled down to this global L2 norm; undefined: no clipping */
  readonly maxGradNorm?: number | undefined;
}

/**
 * Stochastic gradient descent with torch's semantics.
 * @throws OptimError `OPTION_INVALID`
 */
export function sgd({ momentum, nesterov = false, weightDecay, maxGradNorm }: SgdOptions): Optimizer {
  checkRanges("sgd", [
    [
      "momentum",
      momentum,
      momentum >= (nesterov ? Number.MIN_VALUE : 0) && momentum < 1,
      "in [0, 1), > 0 with nesterov",
    ],
    ["weightDecay", weightDecay, weightDecay >= 0, "≥ 0"],
    ["maxGradNorm", maxGradNorm ?? 1, (maxGradNorm ?? 1) > 0, "> 0, or undefined"],
  ]);
  return {
    moments: momentum === 0 ? [] : ["m"],
    scalars: (layout, at) => groupScalars(layout, at, ({ decay, rate }) => [at.lr * rate, decay ? weightDecay : 0, 0]),
    update: (store, scalars) =>
      launchUpdate(store, scalars, maxGradNorm, ({ params, reads, shard: { values, gradients, ...shard } }) => {
        if (momentum === 0) launch(sgdUpdate, { params, reads, updates: { values, gradients } });
        else
          launch(sgdMomentumUpdate, {
            params: { ...params, momentum, nesterov: nesterov ? 1 : 0 },
            reads,
            updates: { values, gradients, m: partOf({ values, gradients, ...shard }, "m") },
          });
      }),
  };
}
