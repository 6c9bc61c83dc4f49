/**
 * Tensors on WebGPU: kernels launched eagerly, or recorded once, planned to the byte and replayed.
 * Takes an open `GPUDevice`; knows nothing of Node or browsers.
 *
 * @packageDocumentation
 */
export { Device } from "./device.ts";
export type { DeviceOptions } from "./device.ts";
export { byteSize, BYTES_PER_ELEMENT, elementCount } from "./dtype.ts";
export type { DType, TensorData } from "./dtype.ts";
export { ShapeError, TensorError } from "./errors.ts";
export type { TensorErrorCode } from "./errors.ts";
export type { DeviceFacts } from "./facts.ts";
export { checkingFinite, firstNonFinite } from "./finite-check.ts";
export type { FiniteCheck } from "./finite-check.ts";
export { defineKernel, GROUP_INDEX, MAIN_ARGS } from "./kernel.ts";
export type { Cost, Element, Kernel, LaunchedWork, ParamType, Spec } from "./kernel.ts";
export { launch } from "./launch.ts";
export type { Indirect, LaunchArgs } from "./launch.ts";
export { planMemory, reserveSlots } from "./memory-plan.ts";
export type { MemoryPlan } from "./memory-plan.ts";
export type { Plan } from "./plan.ts";
export type { KernelProfile, Profile, ProgramProfile, ShapeProfile, Work } from "./profile/profile.ts";
export { Profiler } from "./profile/profiler.ts";
export type { ProfilerOptions } from "./profile/profiler.ts";
export type { Roof } from "./profile/roof.ts";
export type { ChromeTrace, TraceEvent } from "./profile/trace.ts";
export type { Pending, Program } from "./program.ts";
export { record } from "./recorder.ts";
export type { Inputs } from "./recorder.ts";
export { scope, scopeSync } from "./scope.ts";
export type { Category } from "./storage.ts";
export { virtualDevice, virtualTwin } from "./virtual.ts";
export { empty, state, Tensor, upload, viewOf } from "./tensor.ts";

export { asWeight } from "./weight.ts";
export type { DenseFormat, FourBitFormat, Weight, WeightFormat, WeightShard } from "./weight.ts";
export { dynamicMap } from "./dynamic-map.ts";
export { BLOCK_SIZES, BLOCKS_PER_GROUP, FOUR_BIT_VALUES, fourBitHead, fourBitLayout } from "./four-bit.ts";
export type { BlockScales, FourBitLayout } from "./four-bit.ts";
export { allocateFourBit, fourBitWeight, writeFourBitScales } from "./four-bit-weight.ts";
export type { FourBitShard } from "./four-bit-weight.ts";
export { weightShards } from "./shards.ts";
export type { ShardPlan, WeightEncoding } from "./shards.ts";

export type { KernelCache, KernelChoices } from "./kernel-choices.ts";
export { autotune } from "./kernels/matmul/autotune.ts";
export type { AutotuneOptions, Tuned } from "./kernels/matmul/autotune.ts";
export { blockMaxima, encodeFourBit } from "./kernels/four-bit.ts";
export { columnSums, sumSlices } from "./kernels/matmul/column-sums.ts";
export { canBeDiagonal } from "./kernels/matmul/diagonal.ts";
export type { Diagonal } from "./kernels/matmul/diagonal.ts";
export { matmul } from "./kernels/matmul/matmul.ts";
export type { MatmulArgs } from "./kernels/matmul/matmul.ts";
export { reduceOverLanes, rowLanes } from "./kernels/lanes.ts";
export {
  addNormForward,
  NORM_ACCUMULATE,
  NORM_ADD_BEFORE,
  NORM_ROWS_PER_SLICE,
  normBackwardX,
  normForward,
  normWeightSlices,
} from "./kernels/norm.ts";
export type { NormSpec } from "./kernels/norm.ts";
export { decomposedFactor, divideInto, scaleColumns } from "./kernels/decomposed.ts";
export { accumulate, addScaled, fill, multiply, scaleBy, scaleByScalar } from "./kernels/elementwise.ts";
export { adamwUpdate, clipFactor, lionUpdate, sgdMomentumUpdate, sgdUpdate } from "./kernels/optimizers.ts";
export { klRows } from "./kernels/kl-divergence.ts";
export { startPenalty } from "./kernels/start-penalty.ts";
export { uniformNoise } from "./kernels/noise.ts";
export {
  adafactorApply,
  adafactorColumns,
  adafactorColumnSums,
  adafactorRows,
  adafactorSquares,
  rowBlocks,
} from "./kernels/adafactor.ts";
export { adamw8bitUpdate } from "./kernels/adamw-8bit.ts";
export { gatherRows, gatherRowsInto, orderByIds, scatterAddRows, scatterRows } from "./kernels/rows.ts";
export {
  chunkGroups,
  crossEntropyRows,
  crossEntropyTermRows,
  softCapForward,
  tokenScores,
} from "./kernels/cross-entropy.ts";
export { dotPartials, partialCount, sumPartials } from "./kernels/sums.ts";
export { MOST_BLOCKS, placeBlocks, takeBlocks } from "./kernels/blocks.ts";
export { addDropoutMask, dropoutMask } from "./kernels/dropout.ts";
export { gatedBackward, gatedForward } from "./kernels/gated.ts";
export type { GateActivation } from "./kernels/gated.ts";
export { geluBackward, geluForward } from "./kernels/gelu.ts";
export { joinHeads, splitHeads } from "./kernels/heads.ts";
export { addChosenColumns, placesInList, takeChosenColumns } from "./kernels/chosen.ts";
export { joinColumns, takeColumns } from "./kernels/columns.ts";
export {
  attentionBackwardKeyValue,
  attentionBackwardQuery,
  attentionForward,
  attentionSpec,
  attentionStats,
  attentionVectors,
  MAX_HEAD_DIM,
} from "./kernels/attention/attention.ts";
export type { AttentionSpec } from "./kernels/attention/attention.ts";
export { ropeKernel } from "./kernels/rope.ts";
export { cacheKeysValues, decodeMerge, decodeSplits, KEYS_PER_SPLIT } from "./kernels/kv-cache.ts";
