// Which example the d-th draw of a run is. Both orders are pure functions: nothing is stored but the last cycle's table.

import { siteId } from "@tunesmith/core";
import { permute } from "./feistel.ts";
import { mixturePhases, type Phase, type Stage, sumOf } from "./quotas.ts";

/** Examples of one task, in file order. */
export interface TaskExamples {
  readonly name: string;
  /** indices into the dataset */
  readonly examples: Int32Array;
  /** how often each example may be drawn at most */
  readonly maxEpochs?: number | undefined;
}

export interface DrawOptions {
  readonly seed: number;
  readonly shuffle: boolean;
}

/** The order of draws, in epochs. */
export interface Draws {
  /** draws of an epoch; 0 = every task is used up */
  epochSize(epoch: number): number;
  /** the next epoch of another size, Infinity if all that follow are alike */
  nextChange(epoch: number): number;
  /** epochs of one size draw the same examples, in another order */
  readonly repeats: boolean;
  /** index of the example drawn `i`-th in `epoch`, 0 ≤ i < epochSize(epoch) */
  at(epoch: number, i: number): number;
}

/** Every example once per epoch, in one permutation over all tasks; a task leaves after its `maxEpochs`. */
export function plainDraws(tasks: readonly TaskExamples[], { seed, shuffle }: DrawOptions): Draws {
  const site = siteId("data", "epoch order");
  const cache = new Map<string, Int32Array>(); // at most one entry per task and cap
  const examplesOf = (epoch: number): Int32Array => {
    const active = tasks.map((task) => epoch < (task.maxEpochs ?? Infinity));
    const key = active.join();
    let examples = cache.get(key);
    if (examples === undefined) {
      examples = Int32Array.from(tasks.flatMap((task, k) => (active[k] ? [...task.examples] : []))).sort();
      cache.set(key, examples);
    }
    return examples;
  };
  return {
    repeats: true,
    epochSize: (epoch) => examplesOf(epoch).length,
    nextChange: (epoch) =>
      Math.min(...tasks.map(({ maxEpochs = Infinity }) => (maxEpochs > epoch ? maxEpochs : Infinity))),
    at: (epoch, i) => {
      const examples = examplesOf(epoch);
      return examples[shuffle ? permute(i, examples.length, { seed, site, index: epoch }) : i]!;
    },
  };
}

/**
 * Tasks drawn by weight. Draws come in cycles whose slots are dealt by quota and shuffled by (seed, cycle), or interleaved
 * evenly without `shuffle`; each task walks its own permutation, and a new one after its end. An epoch is as many draws as
 * there are examples.
 *
 * @param stages - the weights of the tasks, by the draw they hold from; the first at 0
 */
export function weightedDraws(
  tasks: readonly TaskExamples[],
  stages: readonly Stage[],
  { seed, shuffle }: DrawOptions,
): Draws {
  const caps = tasks.map((task) => (task.maxEpochs ?? Infinity) * task.examples.length);
  const phases = mixturePhases(stages, caps);
  const size = tasks.reduce((sum, task) => sum + task.examples.length, 0);
  const last = phases.at(-1)!;
  const capacity = last.draw + last.cycles * sumOf(last.quotas);
  const sites = tasks.map((task) => siteId(task.name, "task order"));
  const cycleSite = siteId("data", "mixture cycle");

  let table: { cycle: number; slots: Slot[] } | undefined;
  const slotsOf = (phase: Phase, cycle: number): Slot[] => {
    if (table?.cycle !== cycle) {
      const dealt = shuffle
        ? shuffled(phase.quotas, { seed, site: cycleSite, index: cycle })
        : interleaved(phase.quotas);
      table = { cycle, slots: numbered(dealt) };
    }
    return table.slots;
  };
  return {
    repeats: false,
    epochSize: (epoch) => Math.max(0, Math.min(size, capacity - epoch * size)),
    nextChange: (epoch) => Math.max(epoch + 1, Math.floor(capacity / size)),
    at: (epoch, i) => {
      const draw = epoch * size + i;
      const phase = phases.findLast((candidate) => candidate.draw <= draw)!;
      const length = sumOf(phase.quotas);
      const cycleInPhase = Math.floor((draw - phase.draw) / length);
      const { task, before } = slotsOf(phase, phase.cycle + cycleInPhase)[(draw - phase.draw) % length]!;
      const ordinal = phase.drawn[task]! + cycleInPhase * phase.quotas[task]! + before;
      const { examples } = tasks[task]!;
      const index = Math.floor(ordinal / examples.length);
      const within = ordinal % examples.length;
      return examples[shuffle ? permute(within, examples.length, { seed, site: sites[task]!, index }) : within]!;
    },
  };
}

/** A slot of a cycle: its task and how many slots of that task precede it. */
interface Slot {
  readonly task: number;
  readonly before: number;
}

function numbered(dealt: readonly number[]): Slot[] {
  const counts: number[] = [];
  return dealt.map((task) => {
    const before = counts[task] ?? 0;
    counts[task] = before + 1;
    return { task, before };
  });
}

function shuffled(quotas: readonly number[], key: { seed: number; site: number; index: number }): number[] {
  const dealt = quotas.flatMap((quota, task) => Array.from({ length: quota }, () => task));
  return dealt.map((_, slot) => dealt[permute(slot, dealt.length, key)]!);
}

/** Slot i of a task with quota q belongs at (i + ½) / q of the cycle. */
function interleaved(quotas: readonly number[]): number[] {
  return quotas
    .flatMap((quota, task) => Array.from({ length: quota }, (_, i) => ({ task, at: (i + 0.5) / quota })))
    .sort((a, b) => a.at - b.at || a.task - b.task)
    .map(({ task }) => task);
}
