import type { JsonObject } from "@tunesmith/core";
import type { TensorSource } from "@tunesmith/safetensors";
import type { DenseFormat, Device, TensorData, Weight } from "@tunesmith/tensor";
import { checkBitsandbytesConfig } from "./bitsandbytes-config.ts";
import { findBitsandbytes } from "./bitsandbytes.ts";
import type { BitsandbytesMatrix } from "./bitsandbytes.ts";
import { quantizeOnDevice } from "./quantize-on-device.ts";
import type { FourBitOptions } from "./quantize.ts";

/** A matrix of a checkpoint, row by row in its stored format. */
export interface RowSource {
  readonly name: string;
  readonly shape: readonly [rows: number, cols: number];
  readonly format: DenseFormat;
  rows(first: number, count: number): Promise<TensorData<DenseFormat>>;
}

/** What `loadModel` of @tunesmith/models takes as `codec`. */
export interface FourBitCodec {
  decoder(
    quantization: JsonObject,
    checkpoint: { tensors: TensorSource; folder: string; configPath: string },
  ): { find(name: string, shape: readonly [number, number]): Promise<BitsandbytesMatrix | undefined> };
  encode(device: Device, matrix: RowSource): Promise<Weight> | undefined;
}

/**
 * Reads four-bit checkpoints of bitsandbytes and, where `quantize` is given, stores the projections of plain ones in
 * four bits while they load.
 * @param options.skip - projections that stay as they are stored, by module path
 */
export function fourBitCodec(
  options: { quantize?: FourBitOptions; skip?: (path: string) => boolean } = {},
): FourBitCodec {
  const { quantize, skip } = options;
  return {
    decoder: (quantization, { tensors, folder, configPath }) => {
      checkBitsandbytesConfig(quantization, configPath);
      return { find: (name, shape) => findBitsandbytes(tensors, name, shape, folder) };
    },
    encode: (device, matrix) =>
      quantize && !skip?.(matrix.name.replace(/\.weight$/, ""))
        ? quantizeOnDevice(device, matrix, quantize)
        : undefined,
  };
}
