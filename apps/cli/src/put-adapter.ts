import type { Files } from "@tunesmith/core";
import { readPeft } from "@tunesmith/lora";
import { linearPaths, type Model } from "@tunesmith/models";
import { tuneLora } from "@tunesmith/sft";
import { checkAgainstAdapter } from "./config/init-from.ts";
import type { LoadedConfig } from "./config/load.ts";
import { optimizerOf } from "./optimizer.ts";

/** A new adapter on a model, or the one of `init_from` to continue. */
export async function putAdapter(
  loaded: LoadedConfig,
  model: Model,
  files: Files,
): Promise<ReturnType<typeof tuneLora>> {
  const { tune, seed } = loaded.config;
  const { moments } = optimizerOf(loaded.config);
  if (tune.init_from !== null) {
    const from = await readPeft(files, tune.init_from, linearPaths(model.config));
    checkAgainstAdapter(loaded, from.config);
    return tuneLora(model, from.config, { seed, from, moments });
  }
  const { r, alpha, use_rslora: useRslora, target_modules: targetModules } = tune;
  return tuneLora(model, { r, alpha, useRslora, targetModules }, { seed, moments });
}
