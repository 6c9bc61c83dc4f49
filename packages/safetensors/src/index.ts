/**
 * The safetensors format: a strict reader that reads only the bytes asked for, sharded models, and a writer.
 *
 * @packageDocumentation
 */
export { SafetensorsError } from "./errors.ts";
export type { SafetensorsErrorCode } from "./errors.ts";
export { DTYPES } from "./dtypes.ts";
export type { Dtype } from "./dtypes.ts";
export type { TensorInfo } from "./header.ts";
export { f32ToBf16, f32ToF16, fromF32, toF32 } from "./convert.ts";
export { openModel } from "./model.ts";
export type { ModelTensorInfo, SafetensorsModel } from "./model.ts";
export { openInside } from "./open-inside.ts";
export { openSafetensors } from "./read.ts";
export type { SafetensorsFile, TensorSource } from "./read.ts";
export { writeSafetensors } from "./write.ts";
export type { TensorToWrite } from "./write.ts";
