import type { Files } from "@tunesmith/core";
import type { Device, DenseFormat } from "@tunesmith/tensor";
import { build } from "./build.ts";
import type { LoadOptions } from "./build.ts";
import { fromCheckpoint, openChecked } from "./checkpoint.ts";
import type { ModelConfig } from "./config.ts";
import type { Model } from "./decoder.ts";

/**
 * A model of the right shapes whose weights are never read: for planning, on a device made by `virtualDevice`.
 *
 * @param options.format - how a matrix is stored, by its name in the checkpoint; default bf16
 */
export function planModel(
  device: Device,
  config: ModelConfig,
  options: LoadOptions & { format?: (name: string) => DenseFormat } = {},
): Promise<Model> {
  const { format = (): DenseFormat => "bf16", ...rest } = options;
  return build(device, config, rest, (name) => ({
    format: format(name),
    f32: () => Promise.resolve(new Float32Array(0)),
    rows: () => Promise.resolve(new Uint16Array(0)),
  }));
}

/**
 * What `planModel` needs to know about a Hugging Face folder, from config.json and the headers of its weights.
 * @throws whatever `loadModel` throws before the first weight is read
 */
export async function readModelFormats(
  files: Files,
  folder: string,
): Promise<{ config: ModelConfig; format: (name: string) => DenseFormat }> {
  const { config, tensors } = await openChecked(files, folder);
  await tensors.close();
  return { config, format: (name) => fromCheckpoint(tensors, name).format };
}
