import { makeBatch, targetScale } from "@tunesmith/data";
import type { Example } from "@tunesmith/data";
import { tokenBucket } from "@tunesmith/models";
import type { Optimizer } from "@tunesmith/optim";
import type { LossTerms } from "./loss-terms.ts";
import { RunPrograms } from "./programs.ts";
import type { StepMemory } from "./step-memory.ts";
import type { Tuning } from "./tuning.ts";

/** Times of one micro-batch and one update, in seconds. */
export interface StepTimes {
  /** of the micro-batch, its padding to a bucket included */
  readonly tokens: number;
  readonly microBatch: number;
  readonly update: number;
}

const REPEATS = 2;

/**
 * Runs a micro-batch and an update for their times: the first ones compile kernels, of the others the fastest counts.
 * The parameters change.
 *
 * @param options.examples - of one micro-batch
 * @param options.now - milliseconds from any origin
 */
export async function measureStep(
  tuning: Tuning,
  options: {
    examples: readonly Example[];
    optimizer: Optimizer;
    memory?: StepMemory;
    terms?: LossTerms;
    now: () => number;
  },
): Promise<StepTimes> {
  const { examples, now } = options;
  const tasks = [...new Set(examples.map((example) => example.task))];
  const batch = makeBatch(examples, { packing: true, tasks });
  const weights = targetScale(
    [batch],
    "token_mean",
    tasks.map(() => 1),
  )[0]!;
  const tokens = tokenBucket(batch.inputIds.length);
  const shape = { microBatches: new Map([[tokens, 1]]), scored: new Set<number>(), tokens };
  const programs = new RunPrograms(tuning, { ...options, shape });
  let microBatch = Infinity;
  let update = Infinity;
  try {
    programs.reserve();
    for (let i = 0; i <= REPEATS; i++) {
      const start = now();
      await programs.microBatch(batch, weights, { step: 0, firstSegment: 0 });
      const between = now();
      await programs.update({ lr: 0, step: i + 1 });
      if (i === 0) continue;
      microBatch = Math.min(microBatch, (between - start) / 1000);
      update = Math.min(update, (now() - between) / 1000);
    }
  } finally {
    programs.dispose();
  }
  return { tokens, microBatch, update };
}
