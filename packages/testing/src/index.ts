/**
 * Float64 references and comparisons for tests: plain loops over plain arrays, written from the papers
 * and from torch's documentation, so that no code is shared with what they check. Private to this repository.
 *
 * @packageDocumentation
 */
export { geglu, gelu, geluTanh, silu, swiglu } from "./activations.ts";
export { adamwStep } from "./adamw.ts";
export type { AdamwOptions, AdamwState } from "./adamw.ts";
export { attention } from "./attention.ts";
export type { AttentionOptions } from "./attention.ts";
export { clipGradNorm } from "./clip.ts";
export { dot, maxAbsError, relativeMaxError } from "./compare.ts";
export { embedding } from "./embedding.ts";
export { finiteDifference } from "./finite-difference.ts";
export { readGolden } from "./golden.ts";
export type { GoldenTensor } from "./golden.ts";
export { crossEntropy, mse } from "./losses.ts";
export { matmul } from "./matmul.ts";
export type { MatmulLayout } from "./matmul.ts";
export { seededIntegers, seededNormals } from "./normals.ts";
export { layerNorm, rmsNorm } from "./norms.ts";
export { rope } from "./rope.ts";
export { mutateSafetensors } from "./safetensors-mutants.ts";
export { softmax } from "./softmax.ts";
export { CRASHES, FaultDisk, FAULTS, Killed } from "./fault-disk.ts";
export type { Crash, Fault, Operation } from "./fault-disk.ts";
export { memoryFiles } from "./memory-files.ts";
export type { MemoryFiles, MemoryFilesLog } from "./memory-files.ts";
