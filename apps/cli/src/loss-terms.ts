import type { LossTerms } from "@tunesmith/sft";
import type { ResolvedConfig } from "./config/load.ts";

/** What a config adds to plain cross-entropy. */
export function lossTermsOf({
  train,
  regularize,
  seed,
}: Pick<ResolvedConfig, "train" | "regularize" | "seed">): LossTerms {
  const { label_smoothing: labelSmoothing, z_loss: zLoss, neftune } = train;
  return {
    labelSmoothing,
    zLoss,
    noise: neftune === 0 ? undefined : { alpha: neftune, seed },
    l2ToStart: regularize.l2_to_start || undefined,
  };
}
