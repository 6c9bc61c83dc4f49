/**
 * LoRA adapters for any linear layer, read and written in the PEFT format, and base weights in four bits as bitsandbytes
 * stores them.
 *
 * @packageDocumentation
 */
export { assembleLora, frozenTensors, initialLora, loraShapes, peftNames, trainedBiases } from "./adapter.ts";
export { COMBINATIONS, combineAdapters, resizeAdapter } from "./algebra/combine.ts";
export type { Combination, CombineOptions } from "./algebra/combine.ts";
export { diffAdapters } from "./algebra/diff.ts";
export type { UpdateDifference } from "./algebra/diff.ts";
export type { LinearSize, LinearSizes, LoraAdapter, LoraStart } from "./adapter.ts";
export { initMagnitude } from "./base-norms.ts";
export type { BaseWeight } from "./base-norms.ts";
export { moduleRank } from "./config.ts";
export type { LoraConfig } from "./config.ts";
export { withDropout } from "./dropout.ts";
export { LoraError } from "./errors.ts";
export type { LoraErrorCode } from "./errors.ts";
export { mergeAdapter } from "./merge.ts";
export type { MergeDtype } from "./merge.ts";
export { freezeAdapter } from "./freeze.ts";
export { readPeft, readPeftAlone, writePeft, writePeftFolder } from "./peft.ts";
export type { PeftAdapter } from "./peft.ts";
export { readPeftConfig, writePeftConfig } from "./peft-config.ts";
export { copyWeight, resolveSaved, savedName, wholeWeight } from "./saved.ts";
export type { ReplaceableWeights } from "./saved.ts";
export { computeStart } from "./starts.ts";
export type { ComputedStart, StartOptions } from "./starts.ts";
export { initTokenRows, resolveTokenRows, tokenRowShapes, tokenRowsName } from "./token-rows.ts";
export type { TokenRows, TrainedRows } from "./token-rows.ts";
export { matchTargets, resolveTargets } from "./targets.ts";
export type { TargetModules } from "./targets.ts";
export { fourBitCodec } from "./four-bit/codec.ts";
export type { FourBitCodec, RowSource } from "./four-bit/codec.ts";
export { bitsandbytesConfig, withQuantizationConfig } from "./four-bit/bitsandbytes-config.ts";
export { bitsandbytesNames, findBitsandbytes } from "./four-bit/bitsandbytes.ts";
export type { BitsandbytesMatrix } from "./four-bit/bitsandbytes.ts";
export { mergeIntoFourBit } from "./four-bit/merge-four-bit.ts";
export type { RoundingDamage } from "./four-bit/merge-four-bit.ts";
export { dequantizeFourBit, quantizeFourBit } from "./four-bit/quantize.ts";
export type { FourBitData, FourBitOptions } from "./four-bit/quantize.ts";
export { writeBitsandbytes } from "./four-bit/write-bitsandbytes.ts";
