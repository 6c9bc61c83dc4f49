// What a run will take: exact bytes without allocating one of them, then time from a measured micro-step.

import type { Files } from "@tunesmith/core";
import { nodeFiles } from "@tunesmith/node";
import type { Device } from "@tunesmith/tensor";
import { baseCodec } from "../base-weights.ts";
import type { LoadedConfig } from "../config/load.ts";
import { presetLines } from "../config/presets.ts";
import { loadRuns } from "../config/stages.ts";
import type { Context, Outcome } from "../context.ts";
import { openGpu } from "../device.ts";
import type { Options } from "../flags.ts";
import { loadRunData } from "../run-data.ts";
import { planText, planTheRun } from "../run-plan.ts";
import { perStage, planned } from "../stages/planned.ts";
import { measureRun, type TimeDocument } from "../step-time.ts";
import { requireFolder } from "../tuned-model.ts";
import { setsOf } from "./train.ts";

export async function run(
  [path]: readonly string[],
  options: Options<"set" | "memory-budget">,
  context: Context,
): Promise<Outcome> {
  const files = nodeFiles();
  const runs = await loadRuns(path!, { cwd: context.cwd, sets: setsOf(options) });
  await requireFolder(files, runs[0].config.model, "config.json", "model folder");
  const device = await openGpu(context);
  return perStage(await planned(runs, files, context), (run) => planOf(run, { files, device }, context));
}

async function planOf(
  loaded: LoadedConfig,
  { files, device }: { files: Files; device: Device },
  context: Context,
): Promise<Outcome> {
  for (const line of presetLines(loaded.config.preset, loaded.choices)) context.say(line);
  const data = await loadRunData(loaded, { files, now: new Date() });
  const on = { files, device, codec: await baseCodec(files, loaded) };
  const plan = await planTheRun(loaded, data, { ...on, evenIfTooLarge: true });
  // what does not fit cannot be timed here
  const time = plan.document.fits ? await measureRun(loaded, data, plan, on) : null;
  const text = `${planText(plan.document)}\n${time ? timeText(time, data.modelConfig.layers) : "time: not measured"}`;
  return { document: { ...plan.document, time }, text };
}

function timeText({ seconds_per_step: step, seconds, measured }: TimeDocument, layers: number): string {
  const ran = `a micro-batch of ${measured.tokens} tokens through ${measured.layers.join(" and ")} of ${layers} layers`;
  return `time: ${step} s per step, ${seconds} s in all without evaluation, from ${ran}`;
}
