/**
 * AdamW over flat parameter shards, global gradient clipping on the GPU, and learning-rate schedules.
 *
 * @packageDocumentation
 */
export { ADAMW_SCALARS, adamwScalars, adamwStep } from "./adamw.ts";
export type { AdamwOptions } from "./adamw.ts";
export { OptimError } from "./errors.ts";
export type { OptimErrorCode } from "./errors.ts";
export { layoutParameters } from "./layout.ts";
export type { ParameterLayout, ParameterRange, ParameterSlice, ParameterSpec } from "./layout.ts";
export { learningRate, warmupSteps } from "./schedule.ts";
export type { Schedule } from "./schedule.ts";
export { ParameterStore } from "./store.ts";
export type { ParameterPart, ParameterViews } from "./store.ts";
