import { empty, fill, launch, partialCount, startPenalty, sumPartials } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { OptimError } from "./errors.ts";
import type { ParameterStore } from "./store.ts";

/**
 * Adds the gradient of strength / 2 · ‖x − start‖² over all parameters of a store, decayed or not, to its gradients (L2-SP). Once
 * per step, before the optimizer's update and with its scalars. A store that is halted keeps its gradients.
 *
 * @param strength - > 0
 * @returns f32 [1]: the penalty
 * @throws OptimError `MOMENT_UNKNOWN` for a store that keeps no start
 * @see Li et al. 2018, "Explicit Inductive Bias for Transfer Learning", https://arxiv.org/abs/1802.01483
 */
export function pullToStart(store: ParameterStore, scalars: Tensor<"f32">, strength: number): Tensor<"f32"> {
  const { start } = store;
  if (!start)
    throw new OptimError("MOMENT_UNKNOWN", "these parameters have no start: the store keeps none", {
      fix: "call keepStart where the parameters have their first values",
    });
  const { device, shards, halt } = store;
  const count = shards.reduce((n, { values }) => n + partialCount(values.size), 0);
  const partials = empty(device, [count]);
  // each shard writes its part only, and debug mode looks at the whole after each
  if (shards.length > 1) launch(fill, { params: { n: count, value: 0 }, reads: {}, writes: { out: partials } });
  let first = 0;
  for (const [i, { values, gradients }] of shards.entries()) {
    launch(startPenalty, {
      params: { n: values.size, first, strength },
      reads: { values, start: start[i]!, scalars, halt },
      writes: { partials },
      updates: { gradients },
    });
    first += partialCount(values.size);
  }
  const penalty = empty(device, [1]);
  launch(sumPartials, { params: { n: count, scale: strength / 2 }, reads: { partials }, writes: { out: penalty } });
  return penalty;
}
