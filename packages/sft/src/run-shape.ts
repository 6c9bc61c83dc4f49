// What a run will ask of the device, told from lengths alone: which buckets of tokens its batches fall into.

import type { Example, Schedule } from "@tunesmith/data";
import { tokenBucket } from "@tunesmith/models";

/** Prompts as token ids, and how many tokens are generated behind each at most. */
export interface Sampled {
  readonly prompts: readonly Int32Array[];
  readonly maxNewTokens: number;
}

export interface RunShape {
  /** bucket of tokens → most micro-batches of it in two steps on end, which may all be on their way */
  readonly microBatches: ReadonlyMap<number, number>;
  /** buckets of tokens that are scored */
  readonly scored: ReadonlySet<number>;
  /** of all micro-batches of the run, their padding to buckets included */
  readonly tokens: number;
  /** what is continued between steps */
  readonly sampled?: Sampled | undefined;
  /** as `microBatches`, of replayed rows */
  readonly replayed?: ReadonlyMap<number, number> | undefined;
}

interface Walk {
  readonly examples: readonly Example[];
  readonly schedule: Schedule;
  /** examples lie end to end; else each takes the room of the longest */
  readonly packing: boolean;
  /** see `Schedule.window` */
  readonly microBatchSize?: number | undefined;
}

export interface RunShapeOptions extends Walk {
  /** sets that are scored, `batchSize` examples at a time, end to end */
  readonly scored?: readonly { readonly examples: readonly Example[]; readonly batchSize: number }[];
  readonly sampled?: Sampled | undefined;
  readonly replay?: Pick<Walk, "examples" | "schedule"> | undefined;
}

export function runShape({ scored = [], sampled, replay, ...own }: RunShapeOptions): RunShape {
  const buckets = new Set<number>();
  for (const { examples: rows, batchSize } of scored)
    for (let first = 0; first < rows.length; first += batchSize) {
      const part = rows.slice(first, first + batchSize);
      buckets.add(tokenBucket(part.reduce((sum, example) => sum + example.inputIds.length, 0)));
    }
  const replayed = replay && flights({ ...own, ...replay, packing: true }).microBatches;
  return { ...flights(own), scored: buckets, sampled, replayed };
}

/** Walks the whole schedule. */
function flights({ examples, schedule, packing, microBatchSize }: Walk): Pick<RunShape, "microBatches" | "tokens"> {
  const lengths = Int32Array.from(examples, (example) => example.inputIds.length);
  const microBatches = new Map<number, number>();
  let before = new Map<number, number>();
  let tokens = 0;
  for (let step = 0; step < schedule.totalSteps; step++) {
    const now = new Map<number, number>();
    for (const rows of schedule.window(step, microBatchSize)) {
      const bucket = tokenBucket(flatLength(rows, lengths, packing));
      now.set(bucket, (now.get(bucket) ?? 0) + 1);
      tokens += bucket;
    }
    for (const [bucket, count] of now) {
      const flying = count + (before.get(bucket) ?? 0);
      if (flying > (microBatches.get(bucket) ?? 0)) microBatches.set(bucket, flying);
    }
    before = now;
  }
  return { microBatches, tokens };
}

function flatLength(rows: readonly number[], lengths: Int32Array, packing: boolean): number {
  let sum = 0;
  let longest = 0;
  for (const row of rows) {
    sum += lengths[row]!;
    longest = Math.max(longest, lengths[row]!);
  }
  return packing ? sum : longest * rows.length;
}
