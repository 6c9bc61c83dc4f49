// How often each task is drawn: weights as given, as a rule of the tasks' sizes, or changing over the run.

import { DataError } from "../errors.ts";
import { CYCLE, largestRemainder, type Stage } from "./quotas.ts";

/** A task of a mixture. */
export interface MixtureTask {
  readonly name: string;
  /** share of the draws, relative to the other tasks'; set for all tasks or for none */
  readonly samplingWeight?: number | undefined;
  /** integer ≥ 1: how often each of its examples may be drawn at most */
  readonly maxEpochs?: number | undefined;
}

/** Weights that hold from an update on, until the next change. */
export interface WeightChange {
  /** as logged, counted from 1; an integer ≥ 2, since the tasks' own weights hold at the start */
  readonly step: number;
  /** one weight ≥ 0 per task of the run, not all 0 */
  readonly weights: Readonly<Record<string, number>>;
}

export const SAMPLING = ["proportional", "equal", "temperature"] as const;
export type Sampling = (typeof SAMPLING)[number];

/**
 * Sampling weights by rule: `proportional` n_k, `equal` 1, `temperature` n_k^(1/T) (Arivazhagan et al. 2019: T = 1 is
 * proportional, T → ∞ equal; mT5 takes 1/0.3).
 *
 * @param sizes - examples of each task
 * @param temperature - T > 0, for `temperature`
 */
export function samplingWeights(sampling: Sampling, sizes: readonly number[], temperature?: number): number[] {
  if (sampling === "equal") return sizes.map(() => 1);
  if (sampling === "proportional") return [...sizes];
  if (temperature === undefined || !(Number.isFinite(temperature) && temperature > 0)) {
    throw new DataError("MIXTURE_INVALID", `sampling: temperature with the temperature ${temperature}`, {
      expected: "a number > 0",
      received: String(temperature),
      fix: "set sampling_temperature, for example to 3.33",
    });
  }
  const largest = Math.max(...sizes); // keeps the powers in range
  return sizes.map((size) => (size / largest) ** (1 / temperature));
}

/**
 * The stages of a mixture whose weights change.
 * @param firstDraw - the first draw of a step, steps counted from 0
 */
export function weightStages(
  tasks: readonly MixtureTask[],
  changes: readonly WeightChange[],
  firstDraw: (step: number) => number,
): Stage[] {
  const stages: Stage[] = [{ draw: 0, weights: tasks.map((task) => task.samplingWeight!) }];
  let before = 1;
  for (const { step, weights } of changes) {
    if (!Number.isSafeInteger(step) || step <= before) {
      throw new DataError("MIXTURE_INVALID", `sampling_schedule: a change at step ${step}`, {
        expected: `an integer > ${before}`,
        received: String(step),
        fix: before === 1 ? "the weights of the start are the tasks' own" : "list the changes by ascending step",
      });
    }
    before = step;
    const names = tasks.map((task) => task.name);
    const odd = [
      ...names.filter((name) => !Object.hasOwn(weights, name)),
      ...Object.keys(weights).filter((name) => !names.includes(name)),
    ][0];
    if (odd !== undefined) {
      const missing = names.includes(odd);
      throw new DataError(
        "MIXTURE_INVALID",
        `sampling_schedule: step ${step} has ${missing ? "no weight for the task" : "a weight for the unknown task"} ${JSON.stringify(odd)}`,
        { expected: names.join(", "), received: Object.keys(weights).join(", "), fix: "give one weight per task" },
      );
    }
    const values = names.map((name) => weights[name]!);
    if (!values.every((value) => Number.isFinite(value) && value >= 0) || values.every((value) => value === 0)) {
      throw new DataError("MIXTURE_INVALID", `sampling_schedule: step ${step} has weights that cannot be drawn by`, {
        expected: "numbers ≥ 0, not all 0",
        received: values.join(", "),
      });
    }
    checkSlots(tasks, values);
    stages.push({ draw: firstDraw(step - 1), weights: values });
  }
  return stages;
}

/** A task with a weight must get a slot of a full cycle. */
function checkSlots(tasks: readonly MixtureTask[], weights: readonly number[]): void {
  const quotas = largestRemainder(weights, CYCLE);
  const never = quotas.findIndex((quota, k) => quota === 0 && weights[k]! > 0);
  if (never === -1) return;
  throw new DataError(
    "MIXTURE_INVALID",
    `task ${JSON.stringify(tasks[never]!.name)}: its sampling weight is less than a slot of a cycle of ${CYCLE}`,
    {
      expected: `a share of at least 1/${CYCLE}`,
      received: String(weights[never]),
      fix: "raise its weight or remove the task",
    },
  );
}

/**
 * Checks the weights of the tasks.
 * @returns true if the tasks are drawn by weight
 */
export function checkMixture(tasks: readonly MixtureTask[]): boolean {
  const fail = (message: string, details: { expected?: string; received?: string; fix?: string }): never => {
    throw new DataError("MIXTURE_INVALID", message, details);
  };
  if (tasks.length === 0)
    throw new DataError("TASK_EMPTY", "schedule: there are no tasks and no examples", { fix: "check the data files" });
  for (const { name, maxEpochs, samplingWeight } of tasks) {
    if (maxEpochs !== undefined && !(Number.isSafeInteger(maxEpochs) && maxEpochs >= 1)) {
      fail(`task ${JSON.stringify(name)}: max_epochs is ${maxEpochs}`, {
        expected: "an integer ≥ 1",
        received: String(maxEpochs),
      });
    }
    if (samplingWeight !== undefined && !(Number.isFinite(samplingWeight) && samplingWeight > 0)) {
      fail(`task ${JSON.stringify(name)}: sampling_weight is ${samplingWeight}`, {
        expected: "a number > 0",
        received: String(samplingWeight),
        fix: "remove the task to draw nothing from it",
      });
    }
  }
  const set = tasks.filter((task) => task.samplingWeight !== undefined);
  if (set.length === 0) return false;
  if (tasks.length === 1) {
    fail("sampling_weight is set and there is only one task", {
      fix: "remove sampling_weight; loss_weight is the knob that scales a loss",
    });
  }
  if (set.length < tasks.length) {
    const missing = tasks.filter((task) => task.samplingWeight === undefined).map((task) => task.name);
    fail(`sampling_weight is set for some tasks but not for ${missing.join(", ")}`, {
      expected: "a sampling_weight for every task or for none",
      fix: "set it for the others too",
    });
  }
  checkSlots(
    tasks,
    tasks.map((task) => task.samplingWeight!),
  );
  return true;
}
