// Where formats meet models without a cycle: a codec reads matrices that a checkpoint stores in a way of its own, and makes such
// matrices of plain ones. @tunesmith/lora implements it for four bits.

import type { JsonObject } from "@tunesmith/core";
import type { TensorSource } from "@tunesmith/safetensors";
import type { DenseFormat, Device, TensorData, Weight } from "@tunesmith/tensor";

export interface WeightCodec {
  /**
   * A reader for a checkpoint whose config.json says that its weights are quantized.
   * @param quantization - that object of config.json
   * @throws where this codec does not read such checkpoints
   */
  decoder(
    quantization: JsonObject,
    checkpoint: { tensors: TensorSource; folder: string; configPath: string },
  ): MatrixDecoder;
  /** A frozen projection as it shall be on the device; undefined: as it is stored. */
  encode(device: Device, matrix: PlainMatrix): Promise<Weight> | undefined;
}

export interface MatrixDecoder {
  /** The tensors that hold a matrix, once they are found to be sound; undefined if it is one plain tensor. */
  find(name: string, shape: readonly [rows: number, cols: number]): Promise<StoredMatrix | undefined>;
}

/** A matrix in a checkpoint's own format. */
export interface StoredMatrix {
  /** the checkpoint's tensors that belong to it */
  readonly tensors: readonly string[];
  /** on a device that only plans, without reading anything */
  load(device: Device): Promise<Weight>;
  /** all elements as f32 */
  f32(): Promise<Float32Array>;
}

/** A matrix as one plain tensor. */
export interface PlainMatrix {
  readonly name: string;
  readonly shape: readonly [rows: number, cols: number];
  readonly format: DenseFormat;
  /** rows in the stored format */
  rows(first: number, count: number): Promise<TensorData<DenseFormat>>;
}
