/**
 * Decoder-only language models on WebGPU, loaded from Hugging Face folders: Llama, Mistral, Qwen2 and 3, SmolLM3, Gemma 1 to 3, Phi-3,
 * GPT-2, GPT-NeoX.
 *
 * @packageDocumentation
 */
export { declareTokens, tokenBucket, tokenValues } from "./batch.ts";
export type { TokenInputs, TokenSequence } from "./batch.ts";
export type { LayerContext } from "./architecture.ts";
export { ARCHITECTURES } from "./architectures/registry.ts";
export type { ArchitectureName } from "./architectures/registry.ts";
export { parseModelConfig } from "./config.ts";
export type { Activation, ModelConfig } from "./config.ts";
export type { RopeConfig } from "./rope.ts";
export { forward, outputHead } from "./decoder.ts";
export type { Adapter, DecodeOptions, Layer, Model, Recompute, Rotary } from "./decoder.ts";
export type { Linear, Norm } from "./tree.ts";
export { ModelError } from "./errors.ts";
export type { ModelErrorCode } from "./errors.ts";
export { assembleModel } from "./build.ts";
export type { LoadOptions, PlacedRows } from "./build.ts";
export { checkModel, readModelConfig } from "./checkpoint.ts";
export { drawModel } from "./draw.ts";
export { type Growth, writeGrownModel } from "./grow.ts";
export { loadModel } from "./load.ts";
export { planModel, readModelFormats } from "./plan-model.ts";
export { biasSizes, headIsTiedTo, linearPaths, parameterShapes, replaceableWeights } from "./parameters.ts";
export { ofOneInput } from "./side-by-side.ts";
export type { MatrixDecoder, PlainMatrix, StoredMatrix, WeightCodec } from "./weight-codec.ts";
export type { SamplingOptions } from "./sampling.ts";
export { type TrainedValues, writeTrainedModel } from "./write-trained.ts";
export { Generator } from "./generate.ts";
export type { Generated, GenerateOptions } from "./generate.ts";
