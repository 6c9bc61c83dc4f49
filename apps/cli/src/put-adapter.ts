import type { Files } from "@tunesmith/core";
import { readPeft, resolveTokenRows } from "@tunesmith/lora";
import { biasSizes, linearPaths, type Model, replaceableWeights } from "@tunesmith/models";
import { openSafetensors, toF32 } from "@tunesmith/safetensors";
import { tuneLora } from "@tunesmith/sft";
import { checkAgainstAdapter } from "./config/init-from.ts";
import type { LoadedConfig } from "./config/load.ts";
import { loraConfigOf } from "./lora-config.ts";
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
    const biases = biasSizes(model.config);
    const from = await readPeft(files, tune.init_from, linearPaths(model.config), replaceable, { tied, biases });
    checkAgainstAdapter(loaded, from, resolveTokenRows({ trainableTokens: tokens }, replaceable, tied));
    return tuneLora(model, { ...from.config, dropout: tune.dropout }, { seed, from, moments, loraPlusRatio });
  }
  const config = { ...loraConfigOf(loaded.config), trainableTokens: tokens };
  const start = tune.init_lora_weights === "gaussian" ? "gaussian" : "default";
  const from = loaded.start && !model.device.virtual ? await startValues(files, loaded.start.adapter) : undefined;
  return tuneLora(model, config, { start, from, seed, moments, loraPlusRatio });
}

async function startValues(files: Files, folder: string): Promise<{ values: Map<string, Float32Array> }> {
  const file = await openSafetensors(files, files.join(folder, "adapter_model.safetensors"));
  try {
    const values = new Map<string, Float32Array>();
    for (const [name, { dtype }] of file.tensors) values.set(name, toF32(await file.read(name), dtype));
    return { values };
  } finally {
    await file.close();
  }
}
