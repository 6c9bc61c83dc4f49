import type { Files } from "@tunesmith/core";
import type { LoraConfig } from "@tunesmith/lora";
import type { LoadOptions, Model, ModelConfig } from "@tunesmith/models";
import { tuneLora, type Tuning, tuneWeights } from "@tunesmith/sft";
import type { Device } from "@tunesmith/tensor";
import type { LoadedConfig, ResolvedConfig } from "./config/load.ts";
import { optimizerOf } from "./optimizer.ts";
import { putAdapter } from "./put-adapter.ts";

type Method = ResolvedConfig["tune"]["method"];

/** Methods that train weights of the base, not an adapter. */
export function trainsWeights(method: Method): method is "full" | "freeze" {
  return method === "full" || method === "freeze";
}

/**
 * What a config trains, on a device: an adapter on a frozen base, or weights of the base itself.
 * @param from.load - loads or plans the base; what it is given says where trained weights live
 * @param from.adapter - of a new adapter in the place of the config's
 */
export async function tuneRun(
  loaded: LoadedConfig,
  from: {
    files: Files;
    device: Device;
    modelConfig: ModelConfig;
    load: (options: Pick<LoadOptions, "place">) => Promise<Model>;
    adapter?: LoraConfig | undefined;
  },
): Promise<Tuning> {
  const tuning = await placed(loaded, from);
  if (loaded.config.regularize.l2_to_start > 0) tuning.store.keepStart();
  return tuning;
}

async function placed(loaded: LoadedConfig, from: Parameters<typeof tuneRun>[1]): Promise<Tuning> {
  const { tune, seed } = loaded.config;
  const { files, device, modelConfig, load, adapter } = from;
  const { moments } = optimizerOf(loaded.config);
  if (adapter) return tuneLora(await load({}), adapter, { seed, moments });
  if (!trainsWeights(tune.method)) return putAdapter(loaded, await load({}), files);
  return tuneWeights(device, modelConfig, load, {
    moments,
    unfreeze: tune.method === "freeze" ? tune.unfreeze : undefined,
  });
}
