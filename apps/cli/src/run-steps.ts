// The second part of a training run: its steps. Every event of `train` goes to the listeners; checkpoints, the best state and
// patience are kept here.

import { learningRate } from "@tunesmith/optim";
import {
  type EvalEvent,
  type EvalResult,
  guard,
  type ProbeEvent,
  type ProbeLimits,
  type SampleEvent,
  type StepEvent,
  train,
  type TrainOptions,
} from "@tunesmith/sft";
import type { Checkpoints } from "./checkpoints.ts";
import type { ResolvedConfig } from "./config/load.ts";
import type { Context } from "./context.ts";
import { lossTermsOf } from "./loss-terms.ts";
import { metricsLog, readEvents } from "./metrics-log.ts";
import { optimizerOf } from "./optimizer.ts";
import { trainProgress } from "./progress.ts";
import { scheduleOf } from "./rate.ts";
import type { RunFolder } from "./run-folder.ts";
import type { PreparedRun } from "./run-prepare.ts";
import { sampleFiles, samplingOf } from "./samples.ts";

/** Where a run is. */
export interface Progress {
  /** finished updates */
  readonly steps: number;
  /** objective of the last step */
  readonly loss: number | undefined;
  /** the last evaluation */
  readonly eval: EvalResult | undefined;
  readonly best: { readonly step: number; readonly eval_loss: number } | undefined;
  /** what ended the run before its last step */
  readonly stopped: "signal" | "patience" | "probe" | undefined;
}

/** Is told of every event, in order, and waited for. At an evaluation all steps before it are done. */
export interface RunListener {
  step?(event: StepEvent): Promise<void> | void;
  evaluation?(event: EvalEvent): Promise<void> | void;
  probe?(event: ProbeEvent): Promise<void> | void;
  sample?(event: SampleEvent): Promise<void> | void;
}

/** Trains to the end, a signal or the end of patience. A signal leaves a checkpoint of the step it found. */
export async function runSteps(
  run: PreparedRun,
  { folder, checkpoints, context }: { folder: RunFolder; checkpoints: Checkpoints; context: Context },
): Promise<Progress> {
  const { tuning, from } = run;
  const { patience } = run.loaded.config.eval;
  const listeners: readonly RunListener[] = [
    metricsLog(folder),
    trainProgress(context),
    sampleFiles(folder, run.data, context),
  ];
  const progress: { -readonly [K in keyof Progress]: Progress[K] } = {
    steps: from?.step ?? 0,
    loss: undefined,
    eval: undefined,
    best: from?.evaluation.best ?? undefined,
    stopped: undefined,
  };
  let worse = from?.evaluation.worse ?? 0; // evaluations since the best one
  let last = from?.evaluation.last ?? null; // step of the last evaluation
  let probed = from?.evaluation.probed ?? null;
  const save = (): Promise<void> =>
    checkpoints.save(progress.steps, tuning, { best: progress.best ?? null, worse, last, probed });
  const limits = probeLimits(run.loaded.config);
  const events = guard(train(tuning, trainOptions(run, context.signal)), {
    vocabSize: run.data.modelConfig.vocabSize,
    ...(limits ? { probe: limits } : {}),
    history: from ? await readEvents(run.files, folder.path) : [],
  });
  for await (const event of events) {
    if (event.type === "boundary") {
      await save();
      continue;
    }
    if (event.type === "step") {
      for (const listener of listeners) await listener.step?.(event);
      progress.steps = event.step;
      progress.loss = event.loss;
      continue;
    }
    if (event.type === "sample") {
      for (const listener of listeners) await listener.sample?.(event);
      continue;
    }
    if (event.type === "probe") {
      probed = event.step;
      for (const listener of listeners) await listener.probe?.(event);
      if (event.stop !== undefined) progress.stopped = "probe";
      continue;
    }
    for (const listener of listeners) await listener.evaluation?.(event);
    const { result, step } = event;
    progress.eval = result;
    last = step;
    if (progress.best === undefined || result.loss < progress.best.eval_loss) {
      // an evaluation waits for all steps before it, so this is exactly the state that was scored
      progress.best = { step, eval_loss: result.loss };
      worse = 0;
      await checkpoints.saveBest(progress.best, tuning);
    } else if (++worse === patience) {
      context.say(
        `stopped: the eval loss has not fallen for ${worse} evaluations; the best was at step ${progress.best.step}`,
      );
      progress.stopped = "patience";
      break;
    }
  }
  if (context.signal.aborted) {
    progress.stopped = "signal";
    await save();
  } else if (run.seal) await save();
  return progress;
}

function probeLimits({ probe }: ResolvedConfig): ProbeLimits | undefined {
  return probe && { warn: probe.warn, stop: probe.stop, gapWarn: probe.gap_warn, gapStop: probe.gap_stop };
}

/** What `train` is told of a run. */
export function trainOptions(
  {
    loaded,
    data,
    choice,
    from,
    updates,
    profiler,
  }: Pick<PreparedRun, "loaded" | "data" | "choice" | "from" | "updates" | "profiler">,
  signal: AbortSignal,
): TrainOptions {
  const { config } = loaded;
  const { train: examples, tasks, schedule, objective, evaluation, probe } = data;
  const rate = scheduleOf(config, schedule.totalSteps);
  const sampling = samplingOf(config, data);
  const named = new Map(tasks.map((task) => [task.name, task.lossWeight ?? 1]));
  for (const { task } of evaluation ?? []) if (!named.has(task)) named.set(task, 1); // scored, never trained
  return {
    examples,
    tasks: [...named].map(([name, lossWeight]) => ({ name, lossWeight })),
    schedule,
    packing: config.data.packing !== false, // a schedule of bins has packed already
    objective,
    optimizer: optimizerOf(config),
    terms: lossTermsOf(config),
    replay: data.replay,
    memory: choice,
    learningRate: (step) => learningRate(rate, step),
    ...(evaluation
      ? { evaluation: { examples: evaluation, every: config.eval.every, batchSize: choice.microBatchSize } }
      : {}),
    ...(probe ? { probe: { ...probe, every: config.eval.every, batchSize: choice.microBatchSize } } : {}),
    ...(sampling ? { sampling } : {}),
    ...(from
      ? {
          startStep: from.step,
          startEvaluated: from.evaluation.last === from.step,
          startProbed: from.evaluation.probed === from.step,
        }
      : {}),
    priorUpdates: updates,
    ...(profiler ? { peakFlops: profiler.roof.matmul_flops_per_second } : {}),
    boundaryEvery: config.checkpoint.every,
    now: () => performance.now(),
    signal,
  };
}
