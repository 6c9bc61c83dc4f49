// The last part of a training run: what it leaves behind beside its steps.

import {
  evaluate,
  type EvalResult,
  HAND_OVER_FILE,
  ScorePrograms,
  type SelfCheck,
  unlessAborted,
} from "@tunesmith/sft";
import { writePlainAdapter } from "./computed-start.ts";
import { resolvedConfigText } from "./config/load.ts";
import type { Context } from "./context.ts";
import { handOverOf } from "./hand-over.ts";
import { takeKept } from "./kept-state.ts";
import { readEvents, scoreLine } from "./metrics-log.ts";
import { probeLines, probeReport, type ProbeReport } from "./probe-report.ts";
import { saveProfile } from "./profile.ts";
import { decided } from "./run-plan.ts";
import { type RunReport, reportHtml } from "./run-report.ts";
import { firstAndLastSamples } from "./samples.ts";
import type { RunFolder } from "./run-folder.ts";
import type { PreparedRun } from "./run-prepare.ts";
import type { Progress } from "./run-steps.ts";
import { tunedKind } from "./tuned-folder.ts";

/** What a run ended with; printed by `train --json`. */
export interface TrainDocument extends Progress {
  readonly output: string;
  /** path of the adapter folder; null where a model's own weights were trained */
  readonly adapter: string | null;
  /** path of the model folder then */
  readonly model: string | null;
  readonly total_steps: number;
  /** step of the state that is handed over and was tested */
  readonly kept_step: number;
  readonly test: EvalResult | undefined;
  /** what the run has cost */
  readonly probe: ProbeReport | undefined;
  /** with `--self-check` */
  readonly self_check?: readonly SelfCheck[];
  readonly seconds: number;
}

/** Saves the last state or the best, scores the test rows unless the run was stopped, and writes the hand-over. */
export async function finishRun(
  run: PreparedRun,
  progress: Progress,
  { folder, context }: { folder: RunFolder; context: Context },
): Promise<Omit<TrainDocument, "seconds">> {
  const { files, data, tuning, profiler } = run;
  const kind = tunedKind(tuning);
  const kept = await takeKept(run, progress, folder);
  await folder.save(".", tuning, { exact: false });
  await writePlainAdapter(files, run.loaded, folder.path, context);
  const test = await scoreTest(run, kept, { folder, signal: context.signal });
  const stopped = context.signal.aborted ? "signal" : progress.stopped;
  if (profiler) await saveProfile(await profiler.stop(), folder, context);
  const events = await readEvents(files, folder.path);
  const before = events.filter(({ step }) => step <= kept);
  const evaluation = before.findLast((event) => event.type === "eval");
  const probe = probeReport(before.filter((event) => event.type === "probe"));
  for (const line of probe ? probeLines(probe) : []) context.say(line);
  const scores = { eval: evaluation?.result ?? null, test: test ?? null };
  const handOver = await handOverOf(run, folder, { steps: progress.steps, kept_step: kept, ...scores });
  await folder.writeJson(HAND_OVER_FILE, { ...handOver, probe: probe ?? null });
  const end = { steps: progress.steps, total_steps: data.schedule.totalSteps, kept_step: kept, stopped, test };
  await folder.writeText("report.html", await reportOf(run, folder, { end, events }));
  if (stopped === "signal") context.say(`stopped after step ${progress.steps}; --resume goes on from there`);
  return {
    output: folder.path,
    adapter: null,
    model: null,
    [kind]: files.join(folder.path, kind),
    total_steps: data.schedule.totalSteps,
    kept_step: kept,
    ...progress,
    stopped,
    test,
    probe,
    ...(run.checks ? { self_check: run.checks } : {}),
  };
}

async function reportOf(
  { files, loaded: { config }, plan, choice }: PreparedRun,
  { path }: RunFolder,
  { end, events }: Pick<RunReport, "end" | "events">,
): Promise<string> {
  return reportHtml({
    name: path.split(/[/\\]/).at(-1)!,
    method: config.tune.method,
    plan,
    events,
    end,
    samples: await firstAndLastSamples(files, path),
    config: resolvedConfigText(decided(config, choice)),
  });
}

async function scoreTest(
  { tuning, data, choice }: PreparedRun,
  step: number,
  { folder, signal }: { folder: RunFolder; signal: AbortSignal },
): Promise<EvalResult | undefined> {
  if (data.test === undefined || signal.aborted) return undefined;
  const tasks = [...new Set(data.test.map((example) => example.task))];
  const programs = new ScorePrograms(tuning, choice);
  const options = { examples: data.test, batchSize: choice.microBatchSize, signal };
  const result = await unlessAborted(signal, evaluate(tuning, options, tasks, programs)).finally(() =>
    programs.dispose(),
  );
  if (result === undefined) return undefined;
  await folder.log({ step, ...scoreLine("test", result) });
  return result;
}
