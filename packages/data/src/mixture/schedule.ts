// Which examples form which optimizer step: a pure function of (options, step), so that resuming is a lookup.

import { DataError } from "../errors.ts";
import { bins } from "./bins.ts";
import { type Draws, plainDraws, type TaskExamples, weightedDraws } from "./draws.ts";
import { lengthGroups } from "./length-groups.ts";
import type { Stage } from "./quotas.ts";
import { singles, type Units } from "./units.ts";
import { checkMixture, type MixtureTask, type WeightChange, weightStages } from "./weights.ts";

export interface ScheduleOptions {
  readonly tasks: readonly MixtureTask[];
  /** for each example of the dataset, in file order, the index of its task */
  readonly exampleTasks: ArrayLike<number>;
  /** safe integer ≥ 0 */
  readonly seed: number;
  /** examples (or bins) per micro-batch */
  readonly batchSize: number;
  /** micro-batches per optimizer step */
  readonly gradAccumulation: number;
  /** > 0, may be fractional; exactly one of `epochs` and `maxSteps` */
  readonly epochs?: number | undefined;
  readonly maxSteps?: number | undefined;
  readonly shuffle: boolean;
  /** weights that replace the tasks' own from a step on, by ascending step */
  readonly weightChanges?: readonly WeightChange[] | undefined;
  /** for `packing: false`: tokens of each example; micro-batches then hold examples of similar length */
  readonly groupByLength?: ArrayLike<number> | undefined;
  /** `packing: bins`: examples are packed into bins of `maxLength` tokens, and `batchSize` counts bins */
  readonly bins?: { readonly lengths: ArrayLike<number>; readonly maxLength: number } | undefined;
}

/** What each optimizer step trains on. */
export interface Schedule {
  readonly totalSteps: number;
  /** steps of the first epoch; later epochs are shorter once a task has reached its `maxEpochs` */
  readonly stepsPerEpoch: number;
  /**
   * Micro-batches of a step, each a list of example indices: `gradAccumulation` lists of `batchSize` examples (or of the
   * examples in that many bins), fewer and smaller in the last window of an epoch. No two calls need to come in order.
   * @param step - 0 … totalSteps − 1
   * @param microBatchSize - cuts every micro-batch into parts of this many examples (or bins), to save memory; the step
   *   stays the same
   */
  window(step: number, microBatchSize?: number): number[][];
  /** Epochs finished before `step`, with the fraction of the one it is in. */
  epochAt(step: number): number;
}

/**
 * Lays out a run: epochs, windows and their examples.
 *
 * Without sampling weights every example is drawn once per epoch, in a permutation of all of them. With weights an epoch
 * has as many draws as there are examples, dealt in cycles of 1,000 slots by largest remainder.
 *
 * @throws DataError `SCHEDULE_INVALID`, `MIXTURE_INVALID`, `TASK_EMPTY`, or `SCHEDULE_EXHAUSTED` where `maxEpochs` leaves
 *   fewer draws than the run needs
 */
export function createSchedule(options: ScheduleOptions): Schedule {
  checkNumbers(options);
  const tasks = collect(options);
  const { seed, shuffle, batchSize, gradAccumulation } = options;
  const perStep = batchSize * gradAccumulation;
  const stages = stagesOf(options, perStep);
  const draws = stages ? weightedDraws(tasks, stages, { seed, shuffle }) : plainDraws(tasks, { seed, shuffle });
  const units = unitsOf(draws, options);
  const runs = layOut(units, perStep, options);
  const totalSteps = runs.reduce((sum, run) => sum + run.steps, 0);

  /** Epoch of a step, the unit it begins with, and the epoch's size. */
  const find = (step: number): { epoch: number; start: number; size: number } => {
    if (!Number.isInteger(step) || step < 0 || step >= totalSteps) {
      throw new DataError("SCHEDULE_INVALID", `schedule: there is no step ${step}`, {
        expected: `0 … ${totalSteps - 1}`,
        received: String(step),
      });
    }
    const run = runs.findLast((candidate) => candidate.step <= step)!;
    const perEpoch = Math.ceil(run.size / perStep);
    const within = step - run.step;
    return { epoch: run.epoch + Math.floor(within / perEpoch), start: (within % perEpoch) * perStep, size: run.size };
  };
  return {
    totalSteps,
    stepsPerEpoch: Math.ceil(units.epochSize(0) / perStep),
    window(step, microBatchSize = batchSize) {
      const { epoch, start, size } = find(step);
      const end = Math.min(size, start + perStep);
      const microBatches: number[][] = [];
      for (let from = start; from < end; from += batchSize) {
        const last = Math.min(from + batchSize, end);
        for (let first = from; first < last; first += microBatchSize) {
          const length = Math.min(microBatchSize, last - first);
          microBatches.push(Array.from({ length }, (_, i) => units.at(epoch, first + i)).flat());
        }
      }
      return microBatches;
    },
    epochAt(step) {
      const { epoch, start, size } = find(step);
      return epoch + start / size;
    },
  };
}

/** Weights by the draw they hold from; undefined where tasks are not drawn by weight. */
function stagesOf(options: ScheduleOptions, perStep: number): Stage[] | undefined {
  const { tasks, exampleTasks, weightChanges = [] } = options;
  const weighted = checkMixture(tasks);
  if (weightChanges.length === 0) return weighted ? weightStages(tasks, [], () => 0) : undefined;
  if (!weighted || options.bins || options.groupByLength) {
    throw new DataError("MIXTURE_INVALID", "sampling_schedule: there are no single draws by weight to schedule", {
      expected: "sampling weights for the start, and neither bins nor group_by_length, which move draws between steps",
      received: weighted ? (options.bins ? "packing: bins" : "group_by_length") : "no sampling weights",
      fix: weighted ? "use packing: true" : "set sampling or a sampling_weight for every task",
    });
  }
  const perEpoch = Math.ceil(exampleTasks.length / perStep);
  // an epoch's last window is smaller, so steps are counted epoch by epoch
  const firstDraw = (step: number): number =>
    Math.floor(step / perEpoch) * exampleTasks.length + (step % perEpoch) * perStep;
  return weightStages(tasks, weightChanges, firstDraw);
}

function unitsOf(draws: Draws, { bins: packed, groupByLength: lengths, ...options }: ScheduleOptions): Units {
  if (packed) return bins(draws, { ...packed, ...options });
  return lengths ? lengthGroups(draws, { lengths, ...options }) : singles(draws);
}

/** Epochs of one size, in a row; only the last of all may stop before its end. */
interface EpochRun {
  /** first epoch */
  readonly epoch: number;
  /** first step */
  readonly step: number;
  readonly steps: number;
  /** units per epoch */
  readonly size: number;
}

function layOut(units: Units, perStep: number, { epochs, maxSteps }: ScheduleOptions): EpochRun[] {
  const runs: EpochRun[] = [];
  let step = 0;
  let epoch = 0;
  for (;;) {
    if (maxSteps === undefined ? epoch >= epochs! : step >= maxSteps) return runs;
    const size = units.epochSize(epoch);
    if (size === 0) {
      throw new DataError(
        "SCHEDULE_EXHAUSTED",
        `schedule: max_epochs leaves data for ${step} steps and the run needs more`,
        {
          expected: maxSteps === undefined ? `${epochs} epochs` : `${maxSteps} steps`,
          received: `${epoch} epochs, ${step} steps`,
          fix: "raise max_epochs, or lower epochs or max_steps",
        },
      );
    }
    const perEpoch = Math.ceil(size / perStep);
    const next = units.nextChange(epoch);
    const steps =
      maxSteps === undefined
        ? Math.ceil(perEpoch * (Math.min(next, epochs!) - epoch) - 1e-9) // 1.1 · 10 is 11.000000000000002
        : Math.min(perEpoch * (next - epoch), maxSteps - step);
    runs.push({ epoch, step, steps, size });
    step += steps;
    epoch = next;
  }
}

function checkNumbers({
  seed,
  batchSize,
  gradAccumulation,
  epochs,
  maxSteps,
  shuffle,
  exampleTasks,
  bins: packed,
  groupByLength,
}: ScheduleOptions): void {
  const check = (name: string, value: number, fine: boolean, expected: string): void => {
    if (fine) return;
    throw new DataError("SCHEDULE_INVALID", `schedule: ${name} is ${value}`, { expected, received: String(value) });
  };
  const count = (value: number): boolean => Number.isSafeInteger(value) && value >= 1;
  check("seed", seed, Number.isSafeInteger(seed) && seed >= 0, "an integer ≥ 0");
  check("batch_size", batchSize, count(batchSize), "an integer ≥ 1");
  check("grad_accumulation", gradAccumulation, count(gradAccumulation), "an integer ≥ 1");
  if (epochs !== undefined) check("epochs", epochs, Number.isFinite(epochs) && epochs > 0, "a number > 0");
  if (maxSteps !== undefined) check("max_steps", maxSteps, count(maxSteps), "an integer ≥ 1");
  if (packed) {
    const { maxLength } = packed;
    check("max_length", maxLength, count(maxLength) && maxLength < 2 ** 31, "an integer ≥ 1");
  }
  const lengths = packed?.lengths ?? groupByLength;
  if (lengths) {
    const expected = `${exampleTasks.length}, one per example`;
    check("the number of lengths", lengths.length, lengths.length === exampleTasks.length, expected);
  }
  if (groupByLength && (packed || !shuffle)) {
    throw new DataError("SCHEDULE_INVALID", "schedule: group_by_length needs packing: false and shuffle: true", {
      received: packed ? "packing: bins" : "shuffle: false",
      fix: "remove group_by_length",
    });
  }
  if ((epochs === undefined) === (maxSteps === undefined)) {
    throw new DataError("SCHEDULE_INVALID", "schedule: give epochs or max_steps, one of the two", {
      received: epochs === undefined ? "neither" : "both",
      fix: "remove one of the two",
    });
  }
}

function collect({ tasks, exampleTasks }: ScheduleOptions): TaskExamples[] {
  const lists = tasks.map((): number[] => []);
  for (let i = 0; i < exampleTasks.length; i++) lists[exampleTasks[i]!]!.push(i);
  return tasks.map((task, k) => {
    if (lists[k]!.length === 0) {
      throw new DataError("TASK_EMPTY", `task ${JSON.stringify(task.name)} has no examples`, {
        received: "0 examples",
        fix: "remove the task, or check its file and why its rows were dropped",
      });
    }
    return { ...task, examples: Int32Array.from(lists[k]!) };
  });
}
