/**
 * LoRA adapters for any linear layer, read and written in the PEFT format.
 *
 * @packageDocumentation
 */
export { assembleLora, frozenTensors, initialLora, loraScale, loraShapes, peftNames } from "./adapter.ts";
export { COMBINATIONS, combineAdapters, resizeAdapter } from "./algebra/combine.ts";
export type { Combination, CombineOptions } from "./algebra/combine.ts";
export { diffAdapters } from "./algebra/diff.ts";
export type { UpdateDifference } from "./algebra/diff.ts";
export type { LinearSize, LinearSizes, LoraAdapter, LoraConfig } from "./adapter.ts";
export { LoraError } from "./errors.ts";
export type { LoraErrorCode } from "./errors.ts";
export { mergeAdapter } from "./merge.ts";
export type { MergeDtype } from "./merge.ts";
export { readPeft, readPeftAlone, writePeft, writePeftFolder } from "./peft.ts";
export type { PeftAdapter } from "./peft.ts";
export { readPeftConfig, writePeftConfig } from "./peft-config.ts";
export { resolveTargets } from "./targets.ts";
export type { TargetModules } from "./targets.ts";
