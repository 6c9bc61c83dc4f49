// The only normalisation there is: every target of an optimizer step carries its share of the objective, so micro-batch
// gradients are summed and nothing is divided later. Holds for any split of a step into micro-batches.

import { DataError } from "../errors.ts";
import { IGNORED } from "../tokenize/example.ts";
import type { Batch } from "./batch.ts";

export const OBJECTIVES = ["token_mean", "task_mean"] as const;
export type Objective = (typeof OBJECTIVES)[number];

/** Targets and weights of a whole optimizer step, per task. */
export interface TaskCounts {
  /** [tasks] number of targets */
  readonly targets: Float64Array;
  /** [tasks] N_k = Σ w_t */
  readonly weights: Float64Array;
}

/** Sums the counts of a step's micro-batches. */
export function taskCounts(window: readonly Batch[]): TaskCounts {
  const tasks = window[0]?.taskTargets.length ?? 0;
  const targets = new Float64Array(tasks);
  const weights = new Float64Array(tasks);
  for (const batch of window) {
    for (let k = 0; k < tasks; k++) {
      targets[k]! += batch.taskTargets[k]!;
      weights[k]! += batch.taskWeights[k]!;
    }
  }
  return { targets, weights };
}

/**
 * What each target's cross-entropy is multiplied by, so that the sum over a step is the objective:
 * `token_mean` L = Σ_t w_t·CE_t / N with N = Σ w_t over the whole step;
 * `task_mean` L = Σ_k λ_k · (Σ_{t∈k} w_t·CE_t / N_k), where a task absent from the step adds 0.
 *
 * @param window - all micro-batches of one optimizer step
 * @param lossWeights - [tasks] λ_k as given, not normalised; only `task_mean` reads them
 * @param counts - N_k of the whole step; summed over `window` where absent (several hosts sum theirs first)
 * @returns per micro-batch [T] f32, 0 where there is no target
 * @throws DataError `NO_TARGETS` if the step has no target: its loss would be 0 / 0
 */
export function targetScale(
  window: readonly Batch[],
  objective: Objective,
  lossWeights: readonly number[],
  counts: TaskCounts = taskCounts(window),
): Float32Array[] {
  const total = counts.weights.reduce((sum, weight) => sum + weight, 0);
  if (total === 0) {
    throw new DataError("NO_TARGETS", "this optimizer step has no target: its loss is undefined", {
      expected: "at least one position with a target",
      received: `${window.length} micro-batches without any`,
      fix: "check the loss mask with `tunesmith inspect`",
    });
  }
  const factor = Array.from(counts.weights, (weight, k) =>
    objective === "token_mean" ? 1 / total : weight === 0 ? 0 : lossWeights[k]! / weight,
  );
  return window.map(({ targets, targetWeights, taskIds }) =>
    targetWeights.map((weight, t) => (targets[t] === IGNORED ? 0 : weight * factor[taskIds[t]!]!)),
  );
}
