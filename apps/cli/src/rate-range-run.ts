// `lr-find`: two short trainings on the config's own batches, the first at rate 0 for the losses of the untouched weights, the
// second with a rate that grows. Nothing is written.

import { isTunesmithError } from "@tunesmith/core";
import { loadModel } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { type RangePoint, RateRange, rangeRate, type RateSuggestion, train } from "@tunesmith/sft";
import type { Device } from "@tunesmith/tensor";
import { baseCodec } from "./base-weights.ts";
import type { LoadedConfig } from "./config/load.ts";
import type { Context } from "./context.ts";
import { loadRunData, type RunData } from "./run-data.ts";
import { planTheRun } from "./run-plan.ts";
import { trainOptions } from "./run-steps.ts";
import { tuneRun } from "./tune-run.ts";
import { requireFolder } from "./tuned-model.ts";

export interface RateRangeOptions {
  readonly from: number;
  readonly to: number;
  readonly steps: number;
}

/** What `lr-find --json` prints. */
export interface RateRangeDocument extends RateSuggestion {
  /** why no higher rate was tried: all were, the loss came back, or it was not finite */
  readonly ended: "end" | "rising" | "non_finite";
  readonly points: readonly RangePoint[];
}

/** @throws whatever is wrong with config, data, model or device, as `train` does */
export async function findRate(
  written: LoadedConfig,
  range: RateRangeOptions,
  { context, device }: { context: Context; device: Device },
): Promise<RateRangeDocument> {
  const files = nodeFiles();
  const loaded = { ...written, config: shortened(written.config, range.steps) };
  const { config } = loaded;
  await requireFolder(files, config.model, "config.json", "model folder");
  const all = await loadRunData(loaded, { files, now: new Date() });
  // rows that are held back stay so, and are not scored here
  const data: RunData = { ...all, evaluation: undefined, test: undefined };
  const codec = await baseCodec(files, loaded);
  const { choice } = await planTheRun(loaded, data, { files, device, codec });
  const options = trainOptions(
    { loaded, data, choice, from: undefined, updates: 0, profiler: undefined },
    context.signal,
  );
  /** @returns why it ended; `seen` ends it with true */
  const training = async (
    learningRate: (step: number) => number,
    seen: (step: number, loss: number) => boolean,
  ): Promise<RateRangeDocument["ended"]> => {
    const tuning = await tuneRun(loaded, {
      files,
      device,
      modelConfig: data.modelConfig,
      load: (place) => loadModel(device, files, config.model, { positions: data.positions, codec, ...place }),
    });
    device.trim();
    try {
      for await (const event of train(tuning, { ...options, learningRate }))
        if (event.type === "step" && seen(event.step, event.loss)) return "rising";
      return "end";
    } catch (error) {
      if (isTunesmithError(error) && error.code === "NON_FINITE") return "non_finite";
      throw error;
    } finally {
      tuning.store.dispose();
      tuning.model.dispose();
    }
  };

  context.say(`${range.steps} updates at rate 0: the loss of each batch before any training`);
  const startLosses: number[] = [];
  await training(
    () => 0,
    (_, loss) => startLosses.push(loss) < 0,
  );
  context.say(`${range.steps} updates at rates from ${range.from} to ${range.to}`);
  const curve = new RateRange();
  const rateOf = (step: number): number => rangeRate(range, step);
  const ended = await training(rateOf, (step, loss) => {
    // an update's loss is that of the weights before it: the first has seen no rate yet
    if (step === 1) return false;
    return curve.add({ step: step - 1, rate: rateOf(step - 2), loss, startLoss: startLosses[step - 1]! });
  });
  return { ...curve.suggestion(ended === "rising" || ended === "non_finite"), ended, points: curve.points };
}

/** The config's rows, method and optimizer for so many updates; what is scored or drawn beside them is left out. */
function shortened(written: LoadedConfig["config"], steps: number): LoadedConfig["config"] {
  const { probe: _probe, sample: _sample, ...config } = written;
  const { epochs: _epochs, ...train } = config.train;
  return { ...config, train: { ...train, max_steps: steps } };
}
