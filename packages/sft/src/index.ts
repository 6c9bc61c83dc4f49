/**
 * Supervised fine-tuning: the training loop, the multi-task objective and evaluation.
 *
 * @packageDocumentation
 */
export { SftError } from "./errors.ts";
export type { SftErrorCode } from "./errors.ts";
export { evaluate } from "./evaluate.ts";
export { ScorePrograms } from "./score.ts";
export type { Scores } from "./score.ts";
export type { EvalEvent, EvalResult, StepEvent, TaskLoss, TrainEvent } from "./events.ts";
export { modelFlops } from "./model-flops.ts";
export { train } from "./train.ts";
export type { TrainOptions } from "./train.ts";
export { storeForModel, tuneLora } from "./tuning.ts";
export type { Tuning } from "./tuning.ts";
