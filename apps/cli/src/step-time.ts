// How long a step will take, measured on the device with weights of zeros: a micro-batch of the run on a model of one
// layer and of two, where the whole model would take long. What a layer adds is then known, and so is the rest.

import type { Example } from "@tunesmith/data";
import type { LoraAdapter } from "@tunesmith/lora";
import { type ModelConfig, planModel, readModelFormats, tokenBucket } from "@tunesmith/models";
import { measureStep, type StepTimes } from "@tunesmith/sft";
import { virtualTwin } from "@tunesmith/tensor";
import type { LoadedConfig } from "./config/load.ts";
import { lossTermsOf } from "./loss-terms.ts";
import { optimizerOf } from "./optimizer.ts";
import type { RunData } from "./run-data.ts";
import type { RunDevice, RunPlan } from "./run-plan.ts";
import { tuneRun } from "./tune-run.ts";

/** Seconds; evaluation, loading and saving are not counted. */
export interface TimeDocument {
  readonly seconds_per_step: number;
  readonly seconds: number;
  /** what was run to know it */
  readonly measured: {
    readonly tokens: number;
    readonly layers: readonly number[];
    readonly seconds: readonly number[];
  };
}

/** Tokens of the micro-batch that is measured, at most (one example at least). */
const MOST_TOKENS = { software: 256, hardware: 4096 };

export async function measureRun(
  loaded: LoadedConfig,
  data: RunData,
  plan: RunPlan,
  { files, device, codec }: RunDevice,
): Promise<TimeDocument> {
  const { config, format, stored } = await readModelFormats(files, loaded.config.model, codec);
  // matrices in a format of their own are stood in for by plain ones
  const weights = { format, positions: data.positions, ...(stored && stored.size > 0 ? {} : { codec }) };
  const { recompute, chunkRows } = plan.choice;
  const twin = virtualTwin(device);
  const { adapter } = await tuneRun(loaded, {
    files,
    device: twin,
    modelConfig: config,
    load: (place) => planModel(twin, config, { ...weights, ...place }),
  });
  // where what trains makes layers differ, all of them are run
  const differ = adapter ? !layersAlike(adapter, config.layers) : loaded.config.tune.method === "freeze";
  const depths = config.layers <= 2 || differ ? [config.layers] : [1, 2];
  const examples = someExamples(data, MOST_TOKENS[device.facts.software ? "software" : "hardware"]);
  const times: StepTimes[] = [];
  for (const layers of depths) {
    const modelConfig = cut(config, layers);
    const tuning = await tuneRun(loaded, {
      files,
      device,
      modelConfig,
      load: (place) => planModel(device, modelConfig, { ...weights, ...place }),
      // one to continue, or whose start was computed, belongs to the whole model
      adapter: adapter && { ...adapter.config, ...(differ ? {} : { layersToTransform: undefined }) },
    });
    const optimizer = optimizerOf(loaded.config);
    const [memory, terms] = [{ recompute, chunkRows }, lossTermsOf(loaded.config)];
    times.push(await measureStep(tuning, { examples, optimizer, memory, terms, now: () => performance.now() }));
    tuning.store.dispose();
    tuning.model.dispose();
  }
  device.workspace.release();

  const [one, two] = times as [StepTimes, StepTimes | undefined];
  const ofAll = (of: "microBatch" | "update"): number =>
    two ? one[of] + Math.max(0, two[of] - one[of]) * (config.layers - 1) : one[of];
  const steps = data.schedule.totalSteps;
  const seconds = (ofAll("microBatch") / one.tokens) * plan.shape.tokens + ofAll("update") * steps;
  return {
    seconds_per_step: rounded(seconds / steps),
    seconds: rounded(seconds),
    measured: { tokens: one.tokens, layers: depths, seconds: times.map((t) => rounded(t.microBatch + t.update)) },
  };
}

/** The first examples of the run that fill a micro-batch. */
function someExamples({ schedule, train }: RunData, most: number): Example[] {
  const picked: Example[] = [];
  let tokens = 0;
  for (const row of schedule.window(0).flat()) {
    const { length } = train[row]!.inputIds;
    if (picked.length > 0 && tokenBucket(tokens + length) > most) break;
    picked.push(train[row]!);
    tokens += length;
  }
  return picked;
}

/** Whether each layer has the same modules with the same ranks. */
function layersAlike({ modules }: LoraAdapter, layers: number): boolean {
  const ranks = Array.from({ length: layers }, () => new Map<string, number>());
  for (const [path, { a }] of modules) {
    const [, layer, module] = /\.(\d+)\.(.+)$/.exec(path) ?? [];
    if (layer !== undefined) ranks[Number(layer)]!.set(module!, a.shape[0]!);
  }
  const [first, ...others] = ranks as [Map<string, number>, ...Map<string, number>[]];
  return others.every((at) => at.size === first.size && [...at].every(([module, r]) => first.get(module) === r));
}

function cut(config: ModelConfig, layers: number): ModelConfig {
  return { ...config, layers, ropes: config.ropes.slice(0, layers), windows: config.windows.slice(0, layers) };
}

function rounded(seconds: number): number {
  return Number(seconds.toPrecision(4));
}
