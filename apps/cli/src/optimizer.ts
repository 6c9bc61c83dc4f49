import { adafactor, adamw, adamw8bit, lion, type Optimizer, sgd } from "@tunesmith/optim";
import type { ResolvedConfig } from "./config/load.ts";

/** The optimizer of a config. */
export function optimizerOf({ train }: Pick<ResolvedConfig, "train">): Optimizer {
  const { optimizer, betas, eps, momentum, nesterov, ...t } = train;
  const both = { weightDecay: t.weight_decay, maxGradNorm: t.max_grad_norm ?? undefined };
  if (optimizer === "sgd") return sgd({ ...both, momentum, nesterov });
  if (optimizer === "lion") return lion({ ...both, betas: betas ?? [0.9, 0.99] });
  if (optimizer === "adafactor") return adafactor(both);
  const make = optimizer === "adamw8bit" ? adamw8bit : adamw;
  return make({ ...both, betas: betas ?? [0.9, 0.999], eps });
}
