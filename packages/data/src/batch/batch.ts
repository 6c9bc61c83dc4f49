// A micro-batch as one flat token sequence. There is no batch dimension: segment ids keep examples apart.

import { DataError } from "../errors.ts";
import { type Example, IGNORED } from "../tokenize/example.ts";

/** Padded positions hold this id; nothing ever looks at it, so models without a pad token need none. */
const PADDING_ID = 0;

/** Plain, transferable arrays of one micro-batch, all of length T. */
export interface Batch {
  /** [T] */
  readonly inputIds: Int32Array;
  /** [T] already shifted; −100 = ignored */
  readonly targets: Int32Array;
  /** [T] w_t; 0 where ignored */
  readonly targetWeights: Float32Array;
  /** [T] restart with every example */
  readonly positionIds: Int32Array;
  /** [T] attention stays inside a segment; −1 = padding */
  readonly segmentIds: Int32Array;
  /** [T] index of the target's task; −1 where ignored */
  readonly taskIds: Int32Array;
  /** positions with a target, ascending */
  readonly targetRows: Int32Array;
  /** per task, number of targets */
  readonly taskTargets: Int32Array;
  /** per task, Σ w_t */
  readonly taskWeights: Float64Array;
  /** real tokens */
  readonly tokens: number;
  /** padded positions; T = tokens + paddedTokens */
  readonly paddedTokens: number;
}

export interface BatchOptions {
  /**
   * true: end to end without padding; `bins`: the same, of examples that a schedule packed; false: each example is padded
   * on the right to the longest
   */
  readonly packing: boolean | "bins";
  /** all tasks of the run: `taskIds` and the counts are indices into this list */
  readonly tasks: readonly string[];
}

/**
 * Lays examples out as one flat sequence. Loss and gradients are the same with and without packing.
 * @throws DataError `TASK_EMPTY` for an example whose task is not in the list
 */
export function makeBatch(examples: readonly Example[], { packing, tasks }: BatchOptions): Batch {
  const longest = examples.reduce((max, example) => Math.max(max, example.inputIds.length), 0);
  const room = (example: Example): number => (packing === false ? longest : example.inputIds.length);
  const length = examples.reduce((sum, example) => sum + room(example), 0);

  const inputIds = new Int32Array(length).fill(PADDING_ID);
  const targets = new Int32Array(length).fill(IGNORED);
  const targetWeights = new Float32Array(length);
  const positionIds = new Int32Array(length);
  const segmentIds = new Int32Array(length).fill(-1);
  const taskIds = new Int32Array(length).fill(-1);
  const targetRows: number[] = [];
  const taskTargets = new Int32Array(tasks.length);
  const taskWeights = new Float64Array(tasks.length);
  let at = 0;
  let segment = 0;
  let tokens = 0;
  for (const example of examples) {
    const task = tasks.indexOf(example.task);
    if (task === -1) {
      throw new DataError("TASK_EMPTY", `batch: the task ${JSON.stringify(example.task)} is not one of the run's`, {
        expected: tasks.join(", "),
        received: example.task,
      });
    }
    inputIds.set(example.inputIds, at);
    targets.set(example.targets, at);
    targetWeights.set(example.targetWeights, at);
    let last = 0;
    for (let t = 0; t < example.inputIds.length; t++) {
      positionIds[at + t] = example.positionIds?.[t] ?? t;
      const own = example.segmentIds?.[t] ?? 0;
      if (own >= 0) {
        segmentIds[at + t] = segment + own;
        last = own;
        tokens++;
      }
      if (example.targets[t] === IGNORED) continue;
      taskIds[at + t] = task;
      targetRows.push(at + t);
      taskTargets[task]!++;
      taskWeights[task]! += example.targetWeights[t]!;
    }
    segment += last + 1;
    at += room(example);
  }
  return {
    inputIds,
    targets,
    targetWeights,
    positionIds,
    segmentIds,
    taskIds,
    targetRows: Int32Array.from(targetRows),
    taskTargets,
    taskWeights,
    tokens,
    paddedTokens: length - tokens,
  };
}
