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
  const { config, tensors, stored, quantized } = await openChecked(files, folder, options.codec);
  // what a quantized checkpoint left plain, it left so on purpose
  const encode = quantized ? undefined : options.codec;
  try {
    const model = await build(
      device,
      config,
      { ...options, encode },
      (name) => stored.get(name) ?? fromCheckpoint(tensors, name),
    );
    device.trim(); // what a codec worked with
    return model;
  } finally {
    await tensors.close();
  }
}
