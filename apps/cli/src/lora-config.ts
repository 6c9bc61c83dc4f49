import type { LoraConfig } from "@tunesmith/lora";
import type { ResolvedConfig } from "./config/load.ts";

/** The adapter that a config asks for; what names tokens is not among it. */
export function loraConfigOf({ tune }: ResolvedConfig): LoraConfig {
  return {
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
    bias: tune.bias === "none" ? undefined : tune.bias,
    modulesToSave: tune.modules_to_save,
  };
}
