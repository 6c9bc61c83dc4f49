/**
 * Decoder-only language models on WebGPU, loaded from Hugging Face folders: Llama, Mistral, Qwen2, Qwen3.
 *
 * @packageDocumentation
 */
export { declareTokens, tokenBucket, tokenValues } from "./batch.ts";
export type { TokenInputs, TokenSequence } from "./batch.ts";
export { ARCHITECTURES, parseModelConfig } from "./config.ts";
export type { Architecture, ModelConfig, RopeConfig } from "./config.ts";
export { forward } from "./decoder.ts";
export type { Adapter, DecoderLayer, Linear, Model, Recompute } from "./decoder.ts";
export { ModelError } from "./errors.ts";
export type { ModelErrorCode } from "./errors.ts";
export type { LoadOptions, PlacedRows } from "./build.ts";
export { checkModel, readModelConfig } from "./checkpoint.ts";
export { drawModel } from "./draw.ts";
export { loadModel } from "./load.ts";
export { linearPaths, parameterShapes } from "./parameters.ts";
export type { SamplingOptions } from "./sampling.ts";
export { Generator } from "./generate.ts";
export type { Generated, GenerateOptions } from "./generate.ts";
