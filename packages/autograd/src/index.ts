/**
 * Reverse-mode differentiation over `@tunesmith/tensor`: a tape of closures, and differentiable ops.
 *
 * @packageDocumentation
 */
export { backward, differentiable, gradients, isTracked, recompute, trainable } from "./tape.ts";
export type { Backward, Want } from "./tape.ts";
export { linear, linearMany } from "./ops/linear.ts";
export type { LinearOptions, Projection } from "./ops/linear.ts";
export type { Magnitude } from "./ops/decomposed.ts";
export type { LowRank } from "./ops/low-rank.ts";
export { matmul } from "./ops/matmul.ts";
export { addLayerNorm, addRmsNorm, layerNorm, rmsNorm } from "./ops/norm.ts";
export type { LayerNormOptions, RmsNormOptions } from "./ops/norm.ts";
export { add, scale } from "./ops/elementwise.ts";
export { changedEmbedding, headLogits } from "./ops/changed-rows.ts";
export type { ChangedRows, Head } from "./ops/changed-rows.ts";
export { embedding } from "./ops/embedding.ts";
export { gatedLinearUnit } from "./ops/gated-linear-unit.ts";
export { splitColumns } from "./ops/split-columns.ts";
export { softCap } from "./ops/soft-cap.ts";
export { defaultChunkRows } from "./ops/chunk-rows.ts";
export { linearCrossEntropy } from "./ops/linear-cross-entropy.ts";
export type { CrossEntropyTargets } from "./ops/linear-cross-entropy.ts";
export { linearKl } from "./ops/linear-kl.ts";
export type { LogitRowOptions } from "./ops/logit-loss.ts";
export { dropout } from "./ops/dropout.ts";
export type { DropoutKey } from "./ops/dropout.ts";
export { addNoise } from "./ops/noise.ts";
export { gelu } from "./ops/gelu.ts";
export { meanSquaredError } from "./ops/mean-squared-error.ts";
export { scoreTokens } from "./ops/score-tokens.ts";
export { attention } from "./ops/attention.ts";
export type { AttentionOptions, Segments } from "./ops/attention.ts";
export { cachedAttention, storeKeysValues } from "./ops/cached-attention.ts";
export type { CachedAttentionOptions, LayerCache } from "./ops/cached-attention.ts";
export { splitHeads } from "./ops/split-heads.ts";
export type { SplitHeadsOptions } from "./ops/split-heads.ts";
export { rope, ropeTables } from "./ops/rope.ts";
export type { RopeOptions } from "./ops/rope.ts";
