/**
 * Supervised fine-tuning: the training loop, the multi-task objective and evaluation.
 *
 * @packageDocumentation
 */
export {
  checkpointFolders,
  checkpointName,
  newestCheckpoint,
  readText,
  type SoundCheckpoint,
  verifyCheckpoint,
  writeManifest,
} from "./checkpoint/folder.ts";
export {
  checkIdentity,
  OPTIMIZER_FILE,
  readState,
  restoreMoments,
  STATE_FILE,
  type TrainerState,
  writeState,
} from "./checkpoint/state.ts";
export { SftError } from "./errors.ts";
export type { SftErrorCode } from "./errors.ts";
export { evaluate, unlessAborted } from "./evaluate.ts";
export { ScorePrograms } from "./score.ts";
export type { Scores } from "./score.ts";
export type {
  BoundaryEvent,
  EvalEvent,
  EvalResult,
  PairScore,
  ProbeEvent,
  ProbeResult,
  SampleEvent,
  StepEvent,
  TaskLoss,
  TaskScore,
  TrainEvent,
} from "./events.ts";
export type { Findings, Suitability, Warning, WarningCode } from "./guards/findings.ts";
export { probeDelta, type ProbeLimits } from "./guards/forgetting.ts";
export { guard, type GuardOptions } from "./guards/guard.ts";
export { HAND_OVER_FILE, hashAdapterFolder, hashModelFolder, openHandOver } from "./hand-over.ts";
export type { HandOver, HandOverDocument } from "./hand-over.ts";
export { loadAdapter } from "./load-adapter.ts";
export type { LossTerms } from "./loss-terms.ts";
export { modelFlops } from "./model-flops.ts";
export { chooseMemory } from "./choose-memory.ts";
export type { MemoryChoice, MemoryRequest } from "./choose-memory.ts";
export { measureStep } from "./measure-step.ts";
export type { StepTimes } from "./measure-step.ts";
export { planRun } from "./plan-run.ts";
export { type CounterfactualPair, type Probe, probeParts, scoreProbe } from "./probe.ts";
export type { Replay } from "./replay.ts";
export { rangeRate, type RangePoint, RateRange, type RateSuggestion } from "./rate-range.ts";
export { runShape } from "./run-shape.ts";
export type { RunShape, RunShapeOptions, Sampled } from "./run-shape.ts";
export { requireSelfCheck, selfCheck, selfCheckText } from "./self-check.ts";
export type { SelfCheck, SelfCheckOptions } from "./self-check.ts";
export type { StepMemory } from "./step-memory.ts";
export { train } from "./train.ts";
export type { TrainOptions } from "./train.ts";
export { storeForModel, tuneWeights } from "./tune-weights.ts";
export type { WeightOptions } from "./tune-weights.ts";
export { tuneLora } from "./tuning.ts";
export type { Tuning } from "./tuning.ts";
