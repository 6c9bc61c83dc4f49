import type { Files } from "@tunesmith/core";
import type { Device } from "@tunesmith/tensor";
import { build } from "./build.ts";
import type { LoadOptions } from "./build.ts";
import { fromCheckpoint, openChecked } from "./checkpoint.ts";
import type { Model } from "./decoder.ts";

/**
 * Loads a Hugging Face model folder (config.json and model.safetensors, or shards with their index).
 * @throws ModelError for a tensor that is missing, unexpected, of the wrong shape or of a dtype other than F32, F16, BF16
 */
export async function loadModel(
  device: Device,
  files: Files,
  folder: string,
  options: LoadOptions = {},
): Promise<Model> {
  const { config, tensors } = await openChecked(files, folder);
  try {
    return await build(device, config, options, (name) => fromCheckpoint(tensors, name));
  } finally {
    await tensors.close();
  }
}
