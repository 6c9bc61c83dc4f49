// A training run, from config to run folder: prepared, run, finished. The loop itself is `train` of @tunesmith/sft.

import { Checkpoints, decisionsOf, removeLater } from "./checkpoints.ts";
import { type LoadedConfig, resolvedConfigText } from "./config/load.ts";
import { maskReport } from "./run-data.ts";
import { finishRun, type TrainDocument } from "./run-finish.ts";
import { createRunFolder } from "./run-folder.ts";
import { decided } from "./run-plan.ts";
import { checkpointBytes } from "./room.ts";
import { prepareRun, type RunRequest } from "./run-prepare.ts";
import { runSteps } from "./run-steps.ts";
import { type Attempt, nextAttempt, type Tried } from "./smaller-micro-batch.ts";
import { untilSignal } from "./until-signal.ts";

/**
 * Runs a config. A signal ends the run after the step it is in; the adapter is then that of this step. Where the device is
 * lost or out of memory, it goes on in smaller micro-batches.
 * @throws before the output folder is touched for anything that is wrong with config, data, model or device
 */
export async function trainRun(written: LoadedConfig, request: RunRequest): Promise<TrainDocument> {
  let attempt: Attempt = { written, request };
  for (let halvings = 0; ; halvings++) {
    const tried: Tried = {};
    try {
      return await tryRun(attempt, tried);
    } catch (error) {
      attempt = await nextAttempt(attempt, error, tried, halvings);
    }
  }
}

async function tryRun({ written, request }: Attempt, tried: Tried): Promise<TrainDocument> {
  const began = performance.now();
  const { context } = request;
  // until here nothing is written: a signal leaves at once
  const run = await untilSignal(prepareRun(written, request), context.signal);
  tried.microBatchSize = run.choice.microBatchSize;
  tried.device = run.device;
  const { files, device, data, choice, profiler } = run;
  const { config } = run.loaded;
  const folder = await createRunFolder(config.output, {
    files,
    model: config.model,
    templates: data.templates,
    tensorboard: config.logging.tensorboard,
    resumeAt: run.from?.metrics_bytes,
  });
  try {
    if (run.from) await removeLater(files, folder, run.from);
    await folder.writeText("config.resolved.yaml", resolvedConfigText(decided(config, choice)));
    await folder.writeJson("mask-report.json", maskReport(data));
    await folder.writeJson("plan.json", run.plan);
    const checkpoints = new Checkpoints(folder, files, {
      bytes: await checkpointBytes(files, config.model, run.tuning),
      keep: config.checkpoint.keep,
      identity: run.identity,
      decisions: () => decisionsOf(config, choice, device),
    });
    const progress = await runSteps(run, { folder, checkpoints, context });
    const document = await finishRun(run, progress, { folder, context });
    return { ...document, seconds: (performance.now() - began) / 1000 };
  } finally {
    if (profiler && device.profiler === profiler) await profiler.stop().catch(() => {}); // what ended the run says more
    await folder.close();
    run.tuning.store.dispose();
    run.tuning.model.dispose();
  }
}
