import type { LossTerms } from "@tunesmith/sft";
import type { ResolvedConfig } from "./config/load.ts";

/** What a config adds to plain cross-entropy. */
export function lossTermsOf({ train }: Pick<ResolvedConfig, "train">): LossTerms {
  return { labelSmoothing: train.label_smoothing, zLoss: train.z_loss };
}
