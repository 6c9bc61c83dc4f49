// The first part of a training run: everything that can be wrong with config, data, model or device is found here, before
// the output folder is touched.

import { loadModel } from "@tunesmith/models";
import { type NodeFiles, nodeFiles } from "@tunesmith/node";
import type { MemoryChoice, SelfCheck, TrainerState, Tuning } from "@tunesmith/sft";
import type { Device, Profiler } from "@tunesmith/tensor";
import { baseCodec } from "./base-weights.ts";
import { findCheckpoint, restore, runIdentity, withDecisions } from "./checkpoints.ts";
import type { LoadedConfig } from "./config/load.ts";
import { presetLines } from "./config/presets.ts";
import type { Context } from "./context.ts";
import { warnings } from "./curation.ts";
import { openGpu } from "./device.ts";
import { maskWarnings } from "./mask-proof.ts";
import { startProfile } from "./profile.ts";
import { loadRunData, type RunData } from "./run-data.ts";
import { checkOutput } from "./run-folder.ts";
import { decided, type PlanDocument, planTheRun } from "./run-plan.ts";
import { checkpointBytes, withRoom } from "./room.ts";
import { checkItself } from "./self-check.ts";
import { begin, type Start, useKernels } from "./stages/hand-over.ts";
import { tuneRun } from "./tune-run.ts";
import { requireFolder } from "./tuned-model.ts";
import { checkSignal } from "./until-signal.ts";

/** How a run was asked for, beside its config. */
export interface RunRequest {
  readonly overwrite: boolean;
  readonly resume?: boolean;
  readonly profile?: boolean;
  readonly selfCheck?: boolean;
  readonly context: Context;
  /** default: one is opened */
  readonly device?: Device;
  /** opens one in place of a device that was lost; default: as the first one is opened */
  readonly reopen?: (context: Context) => Promise<Device>;
  /** default: those of this computer */
  readonly files?: NodeFiles;
  /** goes on with another micro-batch than the checkpoint's */
  readonly smaller?: boolean;
  /** what a stage takes over from the one before */
  readonly start?: Start | undefined;
  /** leaves a checkpoint of the last step, for a stage that comes after */
  readonly seal?: boolean;
}

/** A run that can start. */
export interface PreparedRun {
  readonly files: NodeFiles;
  readonly loaded: LoadedConfig;
  readonly data: RunData;
  readonly device: Device;
  /** what the plan decided, and the plan as it is written */
  readonly choice: MemoryChoice;
  readonly plan: PlanDocument;
  readonly tuning: Tuning;
  /** what the run is made of */
  readonly identity: TrainerState["identity"];
  /** of the checkpoint that it goes on from */
  readonly from: TrainerState | undefined;
  /** updates that the optimizer's moments had seen before the first step */
  readonly updates: number;
  readonly seal: boolean;
  readonly profiler: Profiler | undefined;
  /** what `--self-check` found */
  readonly checks: readonly SelfCheck[] | undefined;
}

const FEW_STEPS = 50;

/** @throws whatever is wrong; nothing was written or removed then */
export async function prepareRun(
  written: LoadedConfig,
  { overwrite, resume = false, context, profile = false, ...given }: RunRequest,
): Promise<PreparedRun> {
  const { files = nodeFiles() } = given;
  await requireFolder(files, written.config.model, "config.json", "model folder");
  await checkOutput(files, written.config.output, { overwrite, resume });
  const resumed = resume ? await findCheckpoint(files, written.config.output, context.say) : undefined;
  const loaded = resumed ? { ...written, config: withDecisions(written.config, resumed.state) } : written;
  const { config } = loaded;
  const data = await loadRunData(loaded, { files, now: new Date() });
  checkSignal(context.signal); // who waited for this has left
  for (const line of presetLines(config.preset, loaded.choices)) context.say(line);
  sayPlan(data, context);

  const device = given.device ?? (await openGpu(context));
  if (resumed) device.kernelChoices.import(resumed.state.decided.kernel_choices);
  else if (given.start) await useKernels(files, given.start, device);
  const codec = await baseCodec(files, loaded);
  const { choice, document: plan } = await planTheRun(loaded, data, { files, device, codec });
  checkSignal(context.signal);
  context.say(`memory: ${choice.reason}`);
  const tuning = await tuneRun(loaded, {
    files,
    device,
    modelConfig: data.modelConfig,
    load: (place) => loadModel(device, files, config.model, { positions: data.positions, codec, ...place }),
  });
  device.trim(); // what loading needed
  if (!resume && !overwrite) {
    // those that are kept, one more before the oldest of them goes, the best, and what the run ends with
    const bytes = (config.checkpoint.keep + 3) * (await checkpointBytes(files, config.model, tuning));
    await withRoom(files, { path: config.output, bytes, what: "the run" }, async () => {});
  }
  if (given.start) await begin(files, given.start, tuning);
  const identity = await runIdentity(files, decided(config, choice), data);
  if (resumed) {
    await restore(files, resumed, tuning, identity, given.smaller ? ["train.micro_batch_size"] : []);
    context.say(`resumed after step ${resumed.state.step}`);
  }
  const checks = given.selfCheck ? await checkItself(config, { data, tuning, choice, plan }, context) : undefined;
  const profiler = profile ? await startProfile(device, context) : undefined;
  return {
    files,
    loaded,
    data,
    device,
    choice,
    plan,
    tuning,
    identity,
    from: resumed?.state,
    updates: given.start?.updates ?? 0,
    seal: given.seal ?? false,
    profiler,
    checks,
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
