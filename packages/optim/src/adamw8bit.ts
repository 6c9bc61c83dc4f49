import { adamw8bitUpdate, launch } from "@tunesmith/tensor";
import { adamw, launchAdamw } from "./adamw.ts";
import type { AdamwOptions } from "./adamw.ts";
import type { Optimizer } from "./optimizer.ts";
import { launchUpdate } from "./update.ts";

/**
 * AdamW whose moments are kept in eight bits: two bytes per parameter instead of eight. Blocks, values and scales are those
 * of bitsandbytes, and so is the update, which uses the new moments before they are rounded. Parameters of fewer
 * than 4,096 elements keep f32 moments.
 * @throws OptimError `OPTION_INVALID`
 * @see Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization", https://arxiv.org/abs/2110.02861
 */
export function adamw8bit(options: AdamwOptions): Optimizer {
  const exact = adamw(options);
  const {
    betas: [beta1, beta2],
    eps,
    maxGradNorm,
  } = options;
  return {
    moments: ["quantized"],
    scalars: exact.scalars,
    update: (store, scalars) =>
      launchUpdate(store, scalars, maxGradNorm, (group) => {
        const { params, reads, shard } = group;
        const { values, gradients } = shard;
        const constants = { rest1: 1 - beta1, beta2, rest2: 1 - beta2, eps };
        if (shard.quantized)
          launch(adamw8bitUpdate, {
            params: { ...params, beta1, ...constants },
            reads: { ...reads, tables: store.codeTables! },
            updates: { values, gradients, ...shard.quantized },
          });
        else launchAdamw(group, constants);
      }),
  };
}
