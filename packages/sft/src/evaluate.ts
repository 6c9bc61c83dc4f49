// Scores rows without touching what trains: losses are summed and counted over all rows, never averaged per batch.

import { makeBatch } from "@tunesmith/data";
import type { Batch, Example } from "@tunesmith/data";
import { SftError } from "./errors.ts";
import type { EvalResult, TaskScore } from "./events.ts";
import { examplesAt, rowsText } from "./non-finite.ts";
import { ScorePrograms } from "./score.ts";
import type { Scores } from "./score.ts";
import type { Tuning } from "./tuning.ts";

export interface EvaluateOptions {
  readonly examples: readonly Example[];
  /** examples per forward pass */
  readonly batchSize: number;
  /** ends it after the batches that are on their way, with the signal's reason as the error */
  readonly signal?: AbortSignal | undefined;
}

/** Rows that are scored together. */
interface Part {
  readonly part: readonly Example[];
  readonly batch: Batch;
}

/**
 * @param tasks - names of all tasks that occur in the examples
 * @param shared - programs to use; else some are recorded and freed again
 * @throws SftError `NO_ROWS` where no example has a target; `NON_FINITE` where a score is NaN or Inf
 */
export async function evaluate(
  tuning: Pick<Tuning, "model" | "adapter">,
  { examples, batchSize, signal }: EvaluateOptions,
  tasks: readonly string[],
  shared?: ScorePrograms,
): Promise<EvalResult> {
  const programs = shared ?? new ScorePrograms(tuning);
  const sums = new Float64Array(tasks.length);
  const counts = new Float64Array(tasks.length);
  const correct = new Float64Array(tasks.length);
  const count = ({ batch, part }: Part, scores: Scores): void => {
    checkScores(part, scores);
    for (const row of batch.targetRows) {
      const task = batch.taskIds[row]!;
      sums[task]! -= scores.logProbs[row]!;
      counts[task]!++;
      if (scores.correct[row] === 1) correct[task]!++;
    }
  };
  try {
    // a batch is read while the next one runs
    let flight: (Part & { scores: Promise<Scores> }) | undefined;
    for (let first = 0; first < examples.length; first += batchSize) {
      const part = examples.slice(first, first + batchSize);
      const batch = makeBatch(part, { packing: true, tasks });
      const scores = programs.score(batch);
      scores.catch(() => {}); // told when it is read
      if (flight) count(flight, await flight.scores);
      flight = { part, batch, scores };
      if (signal?.aborted) {
        await scores;
        signal.throwIfAborted();
      }
    }
    if (flight) count(flight, await flight.scores);
  } finally {
    if (!shared) programs.dispose();
  }
  const total = (of: Float64Array): number => of.reduce((a, b) => a + b, 0);
  const targets = total(counts);
  if (targets === 0)
    throw new SftError("NO_ROWS", "there is nothing to evaluate: no row has a target", {
      received: `${examples.length} rows without targets`,
      expected: "at least one target",
      fix: "check the evaluation file, train_on and max_length",
    });
  const perTask: Record<string, TaskScore> = {};
  for (const [k, name] of tasks.entries())
    if (counts[k]! > 0) perTask[name] = scoreOf(sums[k]!, correct[k]!, counts[k]!);
  return { ...scoreOf(total(sums), total(correct), targets), tasks: perTask };
}

function checkScores(part: readonly Example[], { logProbs }: Scores): void {
  const bad = examplesAt(part, true, (at) => !Number.isFinite(logProbs[at]));
  if (bad.length === 0) return;
  const rows = rowsText(bad.map(({ row }) => row));
  throw new SftError("NON_FINITE", `a log-probability of ${rows} of the evaluation is NaN or Inf`, {
    received: "NaN or Inf",
    expected: "finite scores",
    fix: "lower train.learning_rate; if it is so before the first step, get the base model's weights again",
  });
}

function scoreOf(sum: number, correct: number, targets: number): TaskScore {
  const loss = sum / targets;
  return { loss, perplexity: Math.exp(loss), token_accuracy: correct / targets, targets };
}

/** What comes of work that is given the signal; undefined where that ended it. */
export async function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (signal?.aborted && error === signal.reason) return undefined;
    throw error;
  }
}
