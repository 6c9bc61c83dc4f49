import type { Files } from "@tunesmith/core";
import { readPeft, resolveTokenRows } from "@tunesmith/lora";
import { linearPaths, type Model, replaceableWeights } from "@tunesmith/models";
import { tuneLora } from "@tunesmith/sft";
import { checkAgainstAdapter } from "./config/init-from.ts";
import type { LoadedConfig } from "./config/load.ts";
import { trainableTokens } from "./new-tokens.ts";
import { optimizerOf } from "./optimizer.ts";

/** A new adapter on a model, or the one of `init_from` to continue. */
export async function putAdapter(
  loaded: LoadedConfig,
  model: Model,
  files: Files,
): Promise<ReturnType<typeof tuneLora>> {
  const { tune, seed } = loaded.config;
  const { moments } = optimizerOf(loaded.config);
  const loraPlusRatio = tune.loraplus_lr_ratio;
  const tokens = await trainableTokens(loaded, model.config, files);
  if (tune.init_from !== null) {
    const replaceable = replaceableWeights(model.config);
    const tied = model.config.tiedHead;
    const from = await readPeft(files, tune.init_from, linearPaths(model.config), replaceable, { tied });
    checkAgainstAdapter(loaded, from, resolveTokenRows({ trainableTokens: tokens }, replaceable, tied));
    return tuneLora(model, { ...from.config, dropout: tune.dropout }, { seed, from, moments, loraPlusRatio });
  }
  const config = {
    r: tune.r,
    alpha: tune.alpha,
    useRslora: tune.use_rslora,
    targetModules: tune.target_modules,
    excludeModules: tune.exclude_modules,
    layersToTransform: tune.layers_to_transform,
    layersPattern: tune.layers_pattern,
    rankPattern: tune.rank_pattern,
    alphaPattern: tune.alpha_pattern,
    dropout: tune.dropout,
    useDora: tune.use_dora,
    bias: tune.bias === "lora_only" ? tune.bias : undefined,
    modulesToSave: tune.modules_to_save,
    trainableTokens: tokens,
  };
  const start = tune.init_lora_weights === "gaussian" ? "gaussian" : "default";
  return tuneLora(model, config, { start, seed, moments, loraPlusRatio });
}
