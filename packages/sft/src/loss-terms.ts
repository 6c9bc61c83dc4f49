import type { EmbeddingNoise } from "./embedding-noise.ts";

/** What training adds to plain cross-entropy. Evaluation scores without any of it. */
export interface LossTerms {
  /** ε in [0, 1): targets are (1 − ε) · onehot + ε / vocab */
  readonly labelSmoothing?: number;
  /** z ≥ 0: each target's loss grows by z · logsumexp(logits)² */
  readonly zLoss?: number;
  /** on the embedding (NEFTune); undefined: none */
  readonly noise?: EmbeddingNoise | undefined;
  /** > 0: adds strength / 2 · ‖x − start‖² over all that trains; the store must `keepStart`. undefined: none */
  readonly l2ToStart?: number | undefined;
}

/** What an update tells. */
export interface UpdateResult {
  /** before clipping; where it is not finite nothing was changed */
  readonly gradNorm: number;
  /** the penalty of `l2ToStart`, at the values before the update */
  readonly l2ToStart?: number;
}

/** Losses of a micro-batch per position, 0 where there is no target. */
export interface TokenLosses {
  /** plain cross-entropy */
  readonly losses: Float32Array;
  /** what `LossTerms` add to each; absent without them */
  readonly added?: Float32Array;
}
