// What a run will take: exact bytes without allocating one of them, then time from a measured micro-step.

import { nodeFiles } from "@tunesmith/node";
import { baseCodec } from "../base-weights.ts";
import { loadConfig } from "../config/load.ts";
import type { Context, Outcome } from "../context.ts";
import { openGpu } from "../device.ts";
import type { Options } from "../flags.ts";
import { withAddedTokens } from "../grown-base.ts";
import { loadRunData } from "../run-data.ts";
import { planText, planTheRun } from "../run-plan.ts";
import { measureRun } from "../step-time.ts";
import { requireFolder } from "../tuned-model.ts";
import { setsOf } from "./train.ts";

export async function run(
  [path]: readonly string[],
  options: Options<"set" | "memory-budget">,
  context: Context,
): Promise<Outcome> {
  const files = nodeFiles();
  const written = await loadConfig(path!, { cwd: context.cwd, sets: setsOf(options) });
  const loaded = await withAddedTokens(written, files, context);
  await requireFolder(files, loaded.config.model, "config.json", "model folder");
  const data = await loadRunData(loaded, { files, now: new Date() });
  const device = await openGpu(context);
  const on = { files, device, codec: await baseCodec(files, loaded) };
  const plan = await planTheRun(loaded, data, on);
  const time = await measureRun(loaded, data, plan, on);
  const { tokens, layers } = time.measured;
  const text = [
    planText(plan.document),
    `time: ${time.seconds_per_step} s per step, ${time.seconds} s in all without evaluation, from a micro-batch of ${tokens} tokens through ${layers.join(" and ")} of ${data.modelConfig.layers} layers`,
  ].join("\n");
  return { document: { ...plan.document, time }, text };
}
