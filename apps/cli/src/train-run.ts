// A training run, from config to run folder, read top to bottom. The loop itself is `train` of @tunesmith/sft; here
// stands what is read before it, written during it and left behind.

import { loadModel } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { learningRate } from "@tunesmith/optim";
import type { Device } from "@tunesmith/tensor";
import {
  type EvalResult,
  evaluate,
  type MemoryChoice,
  ScorePrograms,
  train,
  type TrainerState,
  type TrainOptions,
  type tuneLora,
} from "@tunesmith/sft";
import { baseCodec } from "./base-weights.ts";
import { type LoadedConfig, resolvedConfigText, type ResolvedConfig } from "./config/load.ts";
import {
  Checkpoints,
  decisionsOf,
  findCheckpoint,
  removeLater,
  restore,
  runIdentity,
  withDecisions,
} from "./checkpoints.ts";
import type { Context } from "./context.ts";
import { warnings } from "./curation.ts";
import { openGpu } from "./device.ts";
import { saveProfile, startProfile } from "./profile.ts";
import { optimizerOf } from "./optimizer.ts";
import { trainProgress } from "./progress.ts";
import { maskWarnings } from "./mask-proof.ts";
import { putAdapter } from "./put-adapter.ts";
import { scheduleOf } from "./rate.ts";
import { loadRunData, maskReport, type RunData } from "./run-data.ts";
import { checkOutput, createRunFolder, type RunFolder } from "./run-folder.ts";
import { decided, planTheRun } from "./run-plan.ts";
import { requireFolder } from "./tuned-model.ts";

/** What a run ended with; printed by `train --json`. */
export interface TrainDocument {
  readonly output: string;
  /** path of the adapter folder */
  readonly adapter: string;
  /** finished updates */
  readonly steps: number;
  readonly total_steps: number;
  /** objective of the last step */
  readonly loss: number | undefined;
  /** the last evaluation */
  readonly eval: EvalResult | undefined;
  readonly best: { readonly step: number; readonly eval_loss: number } | undefined;
  readonly test: EvalResult | undefined;
  /** what ended the run before its last step */
  readonly stopped: "signal" | "patience" | undefined;
  readonly seconds: number;
}

type LoraTuning = ReturnType<typeof tuneLora>;
type Progress = Pick<TrainDocument, "steps" | "loss" | "eval" | "best" | "stopped">;

const FEW_STEPS = 50;

/**
 * Runs a config. A signal ends the run after the step it is in; the adapter is then that of this step.
 * @throws before the output folder is touched for anything that is wrong with config, data, model or device
 */
export async function trainRun(
  written: LoadedConfig,
  {
    overwrite,
    resume = false,
    context,
    profile = false,
    ...given
  }: { overwrite: boolean; resume?: boolean; context: Context; profile?: boolean; device?: Device },
): Promise<TrainDocument> {
  const began = performance.now();
  const files = nodeFiles();
  await requireFolder(files, written.config.model, "config.json", "model folder");
  await checkOutput(written.config.output, { overwrite, resume });
  const resumed = resume ? await findCheckpoint(files, written.config.output, context.say) : undefined;
  const loaded = resumed ? { ...written, config: withDecisions(written.config, resumed.state) } : written;
  const { config } = loaded;
  const data = await loadRunData(loaded, { files, now: new Date() });
  sayPlan(data, context);

  const device = given.device ?? (await openGpu(context));
  if (resumed) device.kernelChoices.import(resumed.state.decided.kernel_choices);
  const codec = await baseCodec(files, loaded);
  const { choice, document: plan } = await planTheRun(loaded, data, { files, device, codec });
  context.say(`memory: ${choice.reason}`);
  const model = await loadModel(device, files, config.model, { positions: data.positions, codec });
  const tuning = await putAdapter(loaded, model, files);
  device.trim(); // what loading needed
  const identity = await runIdentity(files, decided(config, choice), data);
  if (resumed) {
    await restore(files, resumed, tuning, identity);
    await removeLater(files, config.output, resumed);
    context.say(`resumed after step ${resumed.state.step}`);
  }
  const profiler = profile ? await startProfile(device, context) : undefined;
  const resumeAt = resumed?.state.step;
  const made = { files, model: config.model, templates: data.templates, resumeAt };
  const folder = await createRunFolder(config.output, made);
  try {
    await folder.writeText("config.resolved.yaml", resolvedConfigText(decided(config, choice)));
    await folder.writeJson("mask-report.json", maskReport(data));
    await folder.writeJson("plan.json", plan);
    const checkpoints = new Checkpoints(folder, files, {
      keep: config.checkpoint.keep,
      identity,
      decisions: () => decisionsOf(config, choice, device),
    });

    const options = {
      ...trainOptions(config, data, choice, context.signal),
      boundaryEvery: config.checkpoint.every,
      ...(resumed
        ? { startStep: resumed.state.step, startEvaluated: resumed.state.evaluation.last === resumed.state.step }
        : {}),
    };
    const peakFlops = profiler?.roof.matmul_flops_per_second;
    const progress = await runSteps(tuning, peakFlops === undefined ? options : { ...options, peakFlops }, {
      folder,
      checkpoints,
      from: resumed?.state,
      patience: config.eval.patience,
      context,
    });
    await folder.saveAdapter("adapter", tuning.adapter);
    await folder.writeJson("last.json", { step: progress.steps, path: "." });
    const test = context.signal.aborted ? undefined : await scoreTest(tuning, data, choice, folder);
    if (profiler) await saveProfile(await profiler.stop(), folder, context);
    await folder.writeJson("sft.json", {
      base_model: config.model,
      adapter: "adapter",
      chat_template: data.templates === undefined ? null : "adapter/chat_template.jinja",
      method: config.tune.method,
      seed: config.seed,
      steps: progress.steps,
      eval: progress.eval ?? null,
      test: test ?? null,
    });
    if (progress.stopped === "signal") context.say(`stopped after step ${progress.steps}; --resume goes on from there`);
    return {
      output: folder.path,
      adapter: files.join(folder.path, "adapter"),
      total_steps: data.schedule.totalSteps,
      ...progress,
      test,
      seconds: (performance.now() - began) / 1000,
    };
  } finally {
    if (profiler && device.profiler === profiler) await profiler.stop().catch(() => {}); // what ended the run says more
    await folder.close();
    tuning.store.dispose();
    model.dispose();
  }
}

/** The loop: every event becomes a line of metrics.jsonl or a checkpoint; the adapter of the lowest eval loss is kept. */
async function runSteps(
  tuning: LoraTuning,
  options: TrainOptions,
  run: {
    folder: RunFolder;
    checkpoints: Checkpoints;
    from: TrainerState | undefined;
    patience: number | null;
    context: Context;
  },
): Promise<Progress> {
  const { folder, checkpoints, from, patience, context } = run;
  const tell = trainProgress(context);
  const progress: { -readonly [K in keyof Progress]: Progress[K] } = {
    steps: from?.step ?? 0,
    loss: undefined,
    eval: undefined,
    best: from?.evaluation.best ?? undefined,
    stopped: undefined,
  };
  let worse = from?.evaluation.worse ?? 0; // evaluations since the best one
  let last = from?.evaluation.last ?? null;
  const save = (): Promise<void> =>
    checkpoints.save(progress.steps, tuning, { best: progress.best ?? null, worse, last });
  for await (const event of train(tuning, options)) {
    if (event.type === "boundary") {
      await save();
      continue;
    }
    const { type, ...line } = event;
    if (type === "step") {
      await folder.log(line);
      tell.step(event);
      progress.steps = event.step;
      progress.loss = event.loss;
      continue;
    }
    const { result, step } = event;
    await folder.log({ step, ...prefixed("eval", result) });
    tell.evaluation(event);
    progress.eval = result;
    last = step;
    if (progress.best === undefined || result.loss < progress.best.eval_loss) {
      // an evaluation waits for all steps before it, so this is exactly the adapter that was scored
      progress.best = { step, eval_loss: result.loss };
      worse = 0;
      await folder.saveBest(progress.best, tuning.adapter);
      await checkpoints.prune(progress);
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
    if (progress.steps > (from?.step ?? 0)) await save();
  }
  return progress;
}

async function scoreTest(
  tuning: LoraTuning,
  data: RunData,
  memory: MemoryChoice,
  folder: RunFolder,
): Promise<EvalResult | undefined> {
  if (data.test === undefined) return undefined;
  const tasks = [...new Set(data.test.map((example) => example.task))];
  const programs = new ScorePrograms(tuning, memory);
  const options = { examples: data.test, batchSize: memory.microBatchSize };
  const result = await evaluate(tuning, options, tasks, programs).finally(() => programs.dispose());
  await folder.log({ step: data.schedule.totalSteps, ...prefixed("test", result) });
  return result;
}

function prefixed(prefix: "eval" | "test", { tasks, ...result }: EvalResult): object {
  return { ...Object.fromEntries(Object.entries(result).map(([key, value]) => [`${prefix}_${key}`, value])), tasks };
}

function trainOptions(config: ResolvedConfig, data: RunData, memory: MemoryChoice, signal: AbortSignal): TrainOptions {
  const { data: d, eval: e } = config;
  const { train: examples, tasks, schedule, objective, evaluation } = data;
  const rate = scheduleOf(config, schedule.totalSteps);
  const named = new Map(tasks.map((task) => [task.name, task.lossWeight ?? 1]));
  for (const { task } of evaluation ?? []) if (!named.has(task)) named.set(task, 1); // scored, never trained
  return {
    examples,
    tasks: [...named].map(([name, lossWeight]) => ({ name, lossWeight })),
    schedule,
    packing: d.packing !== false, // a schedule of bins has packed already
    objective,
    optimizer: optimizerOf(config),
    memory,
    learningRate: (step) => learningRate(rate, step),
    ...(evaluation ? { evaluation: { examples: evaluation, every: e.every, batchSize: memory.microBatchSize } } : {}),
    now: () => performance.now(),
    signal,
  };
}

function sayPlan(data: RunData, { say }: Context): void {
  const { schedule, train: examples, evaluation, objective, maxLength } = data;
  const { totalSteps, stepsPerEpoch } = schedule;
  say(
    `${examples.length} examples of at most ${maxLength} tokens, ${stepsPerEpoch} steps per epoch, ${totalSteps} steps, objective ${objective}`,
  );
  for (const warning of [...warnings(data), ...maskWarnings(data)]) say(`warning: ${warning}`);
  if (totalSteps < FEW_STEPS) say(`warning: ${totalSteps} steps are few; warm-up and schedule have little room`);
  if (evaluation === undefined) say("no eval rows: nothing tells a good step from a bad one, and there is no `best`");
  else say(`${evaluation.length} rows for evaluation`);
}
