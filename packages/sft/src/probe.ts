// What a model must not lose while it learns: sets of rows whose loss is watched, and counterfactual pairs whose
// log-probability gap shows a bias. Scored like an evaluation, by the same programs.

import { type Example, IGNORED, makeBatch } from "@tunesmith/data";
import { evaluate, type EvaluateOptions } from "./evaluate.ts";
import type { PairScore, ProbeResult } from "./events.ts";
import { ScorePrograms } from "./score.ts";
import type { Tuning } from "./tuning.ts";

/** Two texts that differ in what should not matter, such as the pronoun in front of a profession. */
export interface CounterfactualPair {
  /** name of the set it belongs to */
  readonly set: string;
  /** the targets are what is compared */
  readonly a: Example;
  readonly b: Example;
}

export interface Probe {
  /** rows by task: a task is a set */
  readonly examples: readonly Example[];
  readonly pairs: readonly CounterfactualPair[];
}

/** What scoring a probe asks of the device, as {@link runShape} takes it. */
export function probeParts({
  examples,
  pairs,
  batchSize,
}: Probe & { readonly batchSize: number }): { examples: readonly Example[]; batchSize: number }[] {
  return [
    { examples, batchSize },
    { examples: sidesOf(pairs), batchSize },
  ];
}

/**
 * Scores a probe with the parameters as they are; nothing changes.
 * @param shared - programs to use; else some are recorded and freed again
 */
export async function scoreProbe(
  tuning: Pick<Tuning, "model" | "adapter">,
  { examples, pairs, batchSize, signal }: Probe & Pick<EvaluateOptions, "batchSize" | "signal">,
  shared?: ScorePrograms,
): Promise<ProbeResult> {
  const programs = shared ?? new ScorePrograms(tuning);
  try {
    const names = [...new Set(examples.map(({ task }) => task))];
    const options = { examples, batchSize, signal };
    const sets = examples.length === 0 ? {} : (await evaluate(tuning, options, names, programs)).tasks;
    const sides = await logProbabilities({ ...options, examples: sidesOf(pairs) }, programs);
    return { sets, pairs: pairScores(pairs, sides) };
  } finally {
    if (!shared) programs.dispose();
  }
}

/** a and b of each pair in turn. */
function sidesOf(pairs: readonly CounterfactualPair[]): Example[] {
  return pairs.flatMap(({ a, b }) => [a, b]);
}

/** log p of the targets of each example, nats, summed in float64. */
async function logProbabilities(
  { examples, batchSize, signal }: EvaluateOptions,
  programs: ScorePrograms,
): Promise<number[]> {
  const sums: number[] = [];
  for (let first = 0; first < examples.length; first += batchSize) {
    signal?.throwIfAborted();
    const part = examples.slice(first, first + batchSize);
    const tasks = [...new Set(part.map(({ task }) => task))];
    const { logProbs } = await programs.score(makeBatch(part, { packing: true, tasks }));
    let at = 0;
    for (const { targets } of part) {
      let sum = 0;
      for (const [t, target] of targets.entries()) if (target !== IGNORED) sum += logProbs[at + t]!;
      sums.push(sum);
      at += targets.length;
    }
  }
  return sums;
}

/** @param sides - log-probabilities of a and b of each pair in turn */
function pairScores(
  pairs: readonly CounterfactualPair[],
  sides: readonly number[],
): Readonly<Record<string, PairScore>> {
  const gaps = new Map<string, number[]>();
  for (const [i, { set }] of pairs.entries()) {
    const gap = sides[2 * i]! - sides[2 * i + 1]!;
    gaps.set(set, [...(gaps.get(set) ?? []), gap]);
  }
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  return Object.fromEntries(
    [...gaps].map(([set, own]) => [
      set,
      {
        gap: mean(own),
        abs_gap: mean(own.map(Math.abs)),
        prefers_a: own.filter((gap) => gap > 0).length / own.length,
        pairs: own.length,
      },
    ]),
  );
}
