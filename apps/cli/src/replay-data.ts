import { createSchedule, type Example } from "@tunesmith/data";
import type { Replay } from "@tunesmith/sft";
import type { ResolvedConfig } from "./config/load.ts";

/** The rows of `regularize.replay` on their way through a run of so many updates; undefined where nothing is replayed. */
export function replayOf(
  examples: readonly Example[] | undefined,
  { regularize, seed }: Pick<ResolvedConfig, "regularize" | "seed">,
  totalSteps: number,
): Replay | undefined {
  if (examples === undefined) return undefined;
  const schedule = createSchedule({
    tasks: [{ name: "replay" }],
    exampleTasks: examples.map(() => 0),
    seed,
    batchSize: regularize.replay_batch_size!, // resolved where rows are replayed
    gradAccumulation: 1,
    shuffle: true,
    maxSteps: totalSteps,
  });
  return { examples, schedule, strength: regularize.kl_to_base };
}
