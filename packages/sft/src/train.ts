// The training loop, read top to bottom. Parts take plain options and know nothing of config files.

import { makeBatch, taskCounts, targetScale } from "@tunesmith/data";
import type { Batch, Example, Objective, Schedule } from "@tunesmith/data";
import type { GenerateOptions } from "@tunesmith/models";
import type { Optimizer } from "@tunesmith/optim";
import { autotune } from "@tunesmith/tensor";
import { segmentCount } from "./counters.ts";
import { evaluate, unlessAborted } from "./evaluate.ts";
import type { StepEvent, TaskLoss, TrainEvent } from "./events.ts";
import type { LossTerms, TokenLosses, UpdateResult } from "./loss-terms.ts";
import { modelFlops } from "./model-flops.ts";
import { type Probe, probeParts, scoreProbe } from "./probe.ts";
import { checkParameters, nonFiniteStep } from "./non-finite.ts";
import { RunPrograms } from "./programs.ts";
import { type Replay, replayStep } from "./replay.ts";
import { runShape, type Sampled } from "./run-shape.ts";
import type { StepMemory } from "./step-memory.ts";
import type { Tuning } from "./tuning.ts";

export interface TrainOptions {
  readonly examples: readonly Example[];
  /** every task of the run with its λ */
  readonly tasks: readonly { readonly name: string; readonly lossWeight: number }[];
  /** which examples at which step */
  readonly schedule: Schedule;
  readonly packing: boolean;
  readonly objective: Objective;
  readonly optimizer: Optimizer;
  /** rate of update `step`, from 0 */
  readonly learningRate: (step: number) => number;
  /** rows scored at step 0, every `every` updates and at the end */
  readonly evaluation?: { readonly examples: readonly Example[]; readonly every: number; readonly batchSize: number };
  /** what must not be forgotten: scored at step 0, every `every` updates and at the end */
  readonly probe?: Probe & { readonly every: number; readonly batchSize: number };
  /** prompts that are continued before the update after `at` so many, and at the end */
  readonly sampling?: Omit<GenerateOptions, "signal"> & Sampled & { readonly at: (step: number) => boolean };
  /** what trades time for memory */
  readonly memory?: StepMemory;
  /** what training adds to plain cross-entropy; default: nothing */
  readonly terms?: LossTerms;
  /** rows on which the tuned model is held to the base; default: none */
  readonly replay?: Replay | undefined;
  /** FLOPs per second this device can reach: `timing` then says what share of them the model used */
  readonly peakFlops?: number;
  /** milliseconds from any origin; the only clock */
  readonly now: () => number;
  /** goes on after this many updates, whose results the store holds; default 0 */
  readonly startStep?: number;
  /** updates that the optimizer's moments had seen before the first step; default 0 */
  readonly priorUpdates?: number;
  /** the evaluation that is due there was made before the stop */
  readonly startEvaluated?: boolean;
  /** and so was the probe */
  readonly startProbed?: boolean;
  /** a `boundary` event after every so many updates; default: none */
  readonly boundaryEvery?: number;
  /** stops at the next step boundary; scores that are not complete then are dropped */
  readonly signal?: AbortSignal;
}

/** A step that is on its way through the GPU. */
interface Flight {
  readonly step: number;
  readonly lr: number;
  readonly window: readonly Batch[];
  readonly scales: readonly Float32Array[];
  /** per micro-batch */
  readonly losses: readonly Promise<TokenLosses>[];
  readonly update: Promise<UpdateResult>;
  /** the penalty of `replay` */
  readonly klToBase: Promise<number> | undefined;
}

/**
 * Trains, yielding an event per finished step, evaluation and probe. A step's numbers are read while the next one runs, so
 * nothing waits for the GPU in between.
 *
 * @throws SftError `NON_FINITE` when the gradient norm is NaN or Inf: that step and all after it left the weights alone; and
 *   before a `boundary` or the end where an update made a parameter so
 */
export async function* train(tuning: Tuning, options: TrainOptions): AsyncGenerator<TrainEvent, void, undefined> {
  const { examples, schedule, objective, evaluation, probe, sampling, signal } = options;
  const tasks = options.tasks.map((task) => task.name);
  const lossWeights = options.tasks.map((task) => task.lossWeight);
  const microBatchSize = options.memory?.microBatchSize;
  const scored = [...(evaluation ? [evaluation] : []), ...(probe ? probeParts(probe) : [])];
  const shape = runShape({ ...options, microBatchSize, scored, sampled: sampling });
  const record = (): RunPrograms => new RunPrograms(tuning, { ...options, shape });
  let programs = record();
  if ((await autotune(tuning.model.device, options)).length > 0) {
    programs.dispose();
    programs = record(); // the recording showed which products there are; this one runs their fastest kernels
  }
  programs.reserve();
  const clock = { last: options.now() };
  const scoresAt = async function* (
    step: number,
    due: { evaluates: boolean; probes: boolean; samples: boolean },
  ): AsyncGenerator<TrainEvent, void, undefined> {
    // the probe first: a state that it ends the run for is never evaluated, and so never the best
    if (probe && due.probes && !signal?.aborted) {
      const result = await unlessAborted(signal, scoreProbe(tuning, { ...probe, signal }, programs.scores));
      if (result) yield { type: "probe", step, result };
    }
    if (evaluation && due.evaluates && !signal?.aborted) {
      const result = await unlessAborted(signal, evaluate(tuning, { ...evaluation, signal }, tasks, programs.scores));
      if (result) yield { type: "eval", step, result };
    }
    if (!sampling || !due.samples || signal?.aborted) return;
    const drawn = programs.generator.generate(sampling.prompts, { ...sampling, ...(signal ? { signal } : {}) });
    const samples = await unlessAborted(signal, drawn);
    if (samples) yield { type: "sample", step, samples };
  };
  let flight: Flight | undefined;
  let lastStep: number | undefined;
  try {
    const { startStep = 0, startEvaluated = false, startProbed = false, boundaryEvery, priorUpdates = 0 } = options;
    for (let step = startStep; step < schedule.totalSteps; step++) {
      if (signal?.aborted) break;
      const starts = step === startStep;
      const isDue = (part: { readonly every: number } | undefined, done: boolean): boolean =>
        part !== undefined && step % part.every === 0 && !(starts && done);
      const due = {
        evaluates: isDue(evaluation, startEvaluated),
        probes: isDue(probe, startProbed),
        samples: sampling?.at(step) === true,
      };
      const pauses = boundaryEvery !== undefined && !starts && step % boundaryEvery === 0;
      if (due.evaluates || due.probes || due.samples || pauses) {
        if (flight) yield await landed(flight, tuning, options, clock);
        flight = undefined;
        yield* scoresAt(step, due);
        if (pauses && !signal?.aborted) {
          await checkParameters(tuning, step);
          yield { type: "boundary", step };
        }
        if (signal?.aborted) break;
        clock.last = options.now();
      }
      // every micro-batch of this optimizer step, a pure function of (seed, step)
      const window = schedule.window(step, microBatchSize).map((rows) =>
        makeBatch(
          rows.map((row) => examples[row]!),
          { packing: options.packing, tasks },
        ),
      );
      const scales = targetScale(window, objective, lossWeights); // w_t·λ_k/N_k: the only normalisation there is
      const losses: Promise<TokenLosses>[] = [];
      let firstSegment = 0;
      for (const [i, batch] of window.entries()) {
        losses.push(programs.microBatch(batch, scales[i]!, { step, firstSegment }));
        firstSegment += segmentCount(batch);
      }
      const klToBase =
        options.replay &&
        replayStep((batch, weights) => programs.replay(batch, weights), options.replay, { step, microBatchSize });
      const lr = options.learningRate(step);
      const update = programs.update({ lr, step: priorUpdates + step + 1 });
      const before = flight;
      flight = { step: step + 1, lr, window, scales, losses, update, klToBase };
      if (before) yield await landed(before, tuning, options, clock);
    }
    if (flight) {
      const last = flight;
      lastStep = last.step;
      flight = undefined;
      yield await landed(last, tuning, options, clock);
    }
    const ended = lastStep ?? startStep;
    await checkParameters(tuning, ended);
    const moved = lastStep !== undefined;
    const due = { evaluates: moved || !startEvaluated, probes: moved || !startProbed, samples: true };
    yield* scoresAt(ended, due);
  } finally {
    // a consumer that stops early leaves reads behind; they must not fail unseen
    if (flight) await Promise.allSettled([...flight.losses, flight.update, flight.klToBase]);
    programs.dispose();
  }
}

/** Waits for a step and puts its numbers together, in float64. */
async function landed(
  flight: Flight,
  tuning: Tuning,
  options: TrainOptions,
  clock: { last: number },
): Promise<StepEvent> {
  const { step, lr, window, scales } = flight;
  const losses = await Promise.all(flight.losses);
  const { gradNorm, l2ToStart } = await flight.update;
  if (!Number.isFinite(gradNorm)) {
    const rows = options.schedule.window(step - 1, options.memory?.microBatchSize);
    const examples = rows.map((part) => part.map((row) => options.examples[row]!));
    throw await nonFiniteStep(tuning, options, { step, gradNorm, window, scales, examples });
  }
  let loss = 0;
  const sums = new Float64Array(options.tasks.length);
  for (const [i, batch] of window.entries()) {
    const { losses: plain, added } = losses[i]!;
    for (const row of batch.targetRows) {
      loss += scales[i]![row]! * (plain[row]! + (added?.[row] ?? 0));
      sums[batch.taskIds[row]!]! += plain[row]!;
    }
  }
  const { targets } = taskCounts(window);
  const tasks: Record<string, TaskLoss> = {};
  for (const [k, { name }] of options.tasks.entries())
    if (targets[k]! > 0) tasks[name] = { loss: sums[k]! / targets[k]!, targets: targets[k]! };
  const penalties = Object.entries({ l2_to_start: l2ToStart, kl_to_base: await flight.klToBase }).filter(
    ([, penalty]) => penalty !== undefined,
  );
  const tokens = window.reduce((n, batch) => n + batch.tokens, 0);
  const now = options.now();
  const seconds = (now - clock.last) / 1000;
  clock.last = now;
  return {
    type: "step",
    step,
    total_steps: options.schedule.totalSteps,
    loss,
    grad_norm: gradNorm,
    lr,
    tokens,
    padded_tokens: window.reduce((n, batch) => n + batch.paddedTokens, 0),
    target_tokens: targets.reduce((a, b) => a + b, 0),
    tasks,
    ...(penalties.length > 0 ? { penalties: Object.fromEntries(penalties) } : {}),
    timing: {
      seconds,
      tokens_per_second: tokens / Math.max(seconds, 1e-9),
      ...utilization(tuning, window, seconds, options),
    },
  };
}

function utilization(
  tuning: Tuning,
  window: readonly Batch[],
  seconds: number,
  { peakFlops }: TrainOptions,
): { model_flops?: number; mfu?: number } {
  if (peakFlops === undefined) return {};
  const flops = modelFlops(tuning, window);
  return { model_flops: flops, mfu: flops / Math.max(seconds, 1e-9) / peakFlops };
}
