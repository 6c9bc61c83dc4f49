import type { Optimizer } from "@tunesmith/optim";
import { planMemory } from "@tunesmith/tensor";
import type { MemoryPlan, Tensor } from "@tunesmith/tensor";
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
  return planMemory(tuning.store.device, programs.all, { copyBytes: largestCopy(tuning) });
}

/** Saving reads an adapter tensor by tensor, and trained weights shard by shard. */
function largestCopy({ adapter, store }: Tuning): number {
  const read = adapter
    ? [...adapter.modules.values()].flatMap(({ a, b }) => [a, b]).concat(wholeShards(adapter))
    : store.shards.map((shard) => shard.values);
  return Math.max(0, ...read.map((tensor) => 4 * tensor.size));
}

function wholeShards({ saved }: NonNullable<Tuning["adapter"]>): Tensor[] {
  return [...saved.values()].flatMap(({ shards }) => shards.map(({ tensor }) => tensor));
}
