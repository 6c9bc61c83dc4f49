// What a stage takes over from the one before: a base, an adapter, exact weights, moments.

import type { Files } from "@tunesmith/core";
import { readState, restoreMoments, type Tuning } from "@tunesmith/sft";
import type { Device } from "@tunesmith/tensor";
import { run as merge } from "../commands/merge.ts";
import type { ConfiguredRun } from "../config/stages.ts";
import type { Context } from "../context.ts";
import { readTuned } from "../tuned-folder.ts";
import { trainsWeights } from "../tune-run.ts";
import type { FinishedStage } from "./stage-log.ts";

/** What a run starts from beside its config. */
export interface Start {
  /** checkpoint of the stage before; its kernels are used again */
  readonly checkpoint: string;
  /** folder whose weights are those of the base without its rounding */
  readonly weights: string | undefined;
  /** its moments go on */
  readonly moments: boolean;
  /** updates that they have seen */
  readonly updates: number;
}

/**
 * The run of a stage as the stage before has left it. An adapter is merged here, once.
 * @throws whatever `merge` throws
 */
export async function takeOver(
  files: Files,
  run: ConfiguredRun,
  before: FinishedStage,
  context: Context,
): Promise<{ run: ConfiguredRun; start: Start }> {
  const { output, adapter, optimizerState } = run.stage!;
  const within = (path: string): string => files.join(output, ...path.split("/"));
  const state = within(before.state);
  const moments = optimizerState === "keep";
  const start: Start = {
    checkpoint: within(before.last),
    weights: undefined,
    moments,
    updates: moments ? before.updates : 0,
  };
  const { config } = run;
  if (adapter === "continue") {
    const tune = { ...config.tune, init_from: files.join(state, "adapter") };
    return { run: { ...run, config: { ...config, model: before.model, tune } }, start };
  }
  if (adapter === "merge") {
    const out = `${config.output}-merged`;
    const merged = await files.exists(files.join(out, "config.json")); // before the run was stopped
    const folders = { model: before.model, adapter: files.join(state, "adapter"), out };
    if (!merged) await merge([], { ...folders, dtype: undefined, requantize: false }, context);
    return { run: { ...run, config: { ...config, model: out } }, start };
  }
  const model = files.join(output, before.name, "model"); // in the dtype of the base
  const weights = trainsWeights(config.tune.method) ? files.join(state, "model") : undefined;
  return { run: { ...run, config: { ...config, model } }, start: { ...start, weights } };
}

/** Kernels that the stage before has used: the same ones give the same bytes when a run is resumed in between. */
export async function useKernels(files: Files, { checkpoint }: Start, device: Device): Promise<void> {
  device.kernelChoices.import((await readState(files, checkpoint)).decided.kernel_choices);
}

/** Puts weights and moments of the stage before into the store of a run. */
export async function begin(files: Files, { checkpoint, weights, moments }: Start, tuning: Tuning): Promise<void> {
  if (weights !== undefined) {
    await readTuned(files, weights, tuning);
    if (tuning.store.start) tuning.store.keepStart();
  }
  if (moments) await restoreMoments(files, checkpoint, tuning.store);
}
