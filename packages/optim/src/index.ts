/**
 * AdamW, SGD and Lion over flat parameter shards, global gradient clipping on the GPU, and learning-rate schedules.
 *
 * @packageDocumentation
 */
export { adafactor } from "./adafactor.ts";
export type { AdafactorOptions } from "./adafactor.ts";
export { adamw } from "./adamw.ts";
export type { AdamwOptions } from "./adamw.ts";
export { adamw8bit } from "./adamw8bit.ts";
export { OptimError } from "./errors.ts";
export type { OptimErrorCode } from "./errors.ts";
export { layoutParameters } from "./layout.ts";
export type {
  ParameterGroup,
  ParameterLayout,
  ParameterRange,
  ParameterShard,
  ParameterSlice,
  ParameterSpec,
} from "./layout.ts";
export { lion } from "./lion.ts";
export type { LionOptions } from "./lion.ts";
export type { Optimizer } from "./optimizer.ts";
export { learningRate, warmupSteps } from "./schedule.ts";
export type { Schedule } from "./schedule.ts";
export { pullToStart } from "./start-penalty.ts";
export { sgd } from "./sgd.ts";
export type { SgdOptions } from "./sgd.ts";
export type { QuantizedMoments } from "./quantized.ts";
export type { SavedState } from "./saved-state.ts";
export { ParameterStore } from "./store.ts";
export type { FactoredMoment, Moment, ParameterPart, ParameterViews, Shard } from "./store.ts";
export { scalarCount } from "./update.ts";
export type { UpdateAt } from "./update.ts";
