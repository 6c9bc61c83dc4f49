import type { Optimizer } from "@tunesmith/optim";
import { planMemory } from "@tunesmith/tensor";
import type { MemoryPlan } from "@tunesmith/tensor";
import { RunPrograms } from "./programs.ts";
import type { LossTerms } from "./loss-terms.ts";
import type { RunShape } from "./run-shape.ts";
import type { StepMemory } from "./step-memory.ts";
import type { Tuning } from "./tuning.ts";

/**
 * Exact bytes of a run: states, the programs of its micro-batches, update and evaluation, and the copies they are read
 * through, those of saving among them. Works on a device made by `virtualDevice`, for models larger than memory.
 *
 * @throws TensorError `OUT_OF_MEMORY` where a tensor exceeds the largest binding of the device
 */
export function planRun(
  tuning: Tuning,
  options: { optimizer: Optimizer; shape: RunShape; memory?: StepMemory; terms?: LossTerms },
): MemoryPlan {
  const programs = new RunPrograms(tuning, options);
  try {
    return planMemory(tuning.store.device, programs.all, { copyBytes: largestCopy(tuning) });
  } finally {
    programs.dispose();
  }
}

/** Saving reads parameter by parameter. */
function largestCopy({ store }: Tuning): number {
  const elements = [...store.layout.slices.values()].map((slices) =>
    slices.reduce((sum, { shape }) => sum + shape.reduce((size, extent) => size * extent, 1), 0),
  );
  return 4 * Math.max(0, ...elements);
}
