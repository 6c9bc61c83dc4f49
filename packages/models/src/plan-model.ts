import type { Files } from "@tunesmith/core";
import type { Device, DenseFormat } from "@tunesmith/tensor";
import { build } from "./build.ts";
import type { LoadOptions } from "./build.ts";
import { denseFormat, openChecked } from "./checkpoint.ts";
import type { ModelConfig } from "./config.ts";
import type { Model } from "./decoder.ts";
import type { StoredMatrix, WeightCodec } from "./weight-codec.ts";

/** How the matrices of a checkpoint are stored. */
export interface ModelFormats {
  /** of a matrix that is one plain tensor, by its name in the checkpoint */
  readonly format: (name: string) => DenseFormat;
  /** matrices in a format of their own; their checkpoint may be closed */
  readonly stored?: ReadonlyMap<string, StoredMatrix>;
}

/**
 * A model of the right shapes whose weights are never read: zeros, or nothing at all on a device made by `virtualDevice`,
 * where its size does not matter.
 *
 * @param options.format - default: bf16
 */
export function planModel(
  device: Device,
  config: ModelConfig,
  options: LoadOptions & Partial<ModelFormats> = {},
): Promise<Model> {
  const { format = (): DenseFormat => "bf16", stored, ...rest } = options;
  // as in loadModel: what a quantized checkpoint left plain stays plain
  const encode = stored && stored.size > 0 ? undefined : options.codec;
  return build(device, config, { ...rest, encode }, (name, shape) => {
    const sizeOf = (rows: number): number =>
      device.virtual ? 0 : rows * shape.slice(1).reduce((size, extent) => size * extent, 1);
    const plain = format(name);
    return (
      stored?.get(name) ?? {
        format: plain,
        f32: () => Promise.resolve(new Float32Array(sizeOf(shape[0]!))),
        rows: (_, count) =>
          Promise.resolve(plain === "f32" ? new Float32Array(sizeOf(count)) : new Uint16Array(sizeOf(count))),
      }
    );
  });
}

/**
 * What `planModel` needs to know about a Hugging Face folder, from config.json and the headers of its weights.
 * @throws whatever `loadModel` throws before the first weight is read
 */
export async function readModelFormats(
  files: Files,
  folder: string,
  codec?: WeightCodec,
): Promise<ModelFormats & { readonly config: ModelConfig }> {
  const { config, tensors, stored } = await openChecked(files, folder, codec);
  await tensors.close();
  return { config, stored, format: (name) => denseFormat(tensors, name) };
}
