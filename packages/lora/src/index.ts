/**
 * LoRA adapters for any linear layer, read and written in the PEFT format.
 *
 * @packageDocumentation
 */
export { assembleLora, frozenTensors, initialLora, loraScale, loraShapes, peftNames } from "./adapter.ts";
export type { LinearSizes, LoraAdapter, LoraConfig } from "./adapter.ts";
export { LoraError } from "./errors.ts";
export type { LoraErrorCode } from "./errors.ts";
export { readPeft, writePeft } from "./peft.ts";
export type { PeftAdapter } from "./peft.ts";
export { readPeftConfig, writePeftConfig } from "./peft-config.ts";
export { resolveTargets } from "./targets.ts";
export type { TargetModules } from "./targets.ts";
