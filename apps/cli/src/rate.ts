import { type Schedule, warmupSteps } from "@tunesmith/optim";
import type { ResolvedConfig } from "./config/load.ts";

/** The learning-rate schedule of a config, for a run of `totalSteps`. */
export function scheduleOf({ train: t }: ResolvedConfig, totalSteps: number): Schedule {
  const shared = {
    lr: t.learning_rate,
    totalSteps,
    warmupSteps: t.warmup_steps ?? warmupSteps(t.warmup_ratio, totalSteps),
  };
  const minRatio = t.min_lr_ratio ?? 0;
  switch (t.schedule) {
    case "cosine-with-min":
      return { ...shared, name: t.schedule, minLr: minRatio * t.learning_rate };
    case "cosine-restarts":
      return { ...shared, name: t.schedule, cycles: t.lr_cycles! };
    case "wsd":
      return {
        ...shared,
        name: t.schedule,
        decaySteps: Math.ceil(t.lr_decay_ratio * totalSteps),
        decay: t.lr_decay,
        minRatio,
      };
    case "polynomial":
      return { ...shared, name: t.schedule, power: t.lr_power, endLr: minRatio * t.learning_rate };
    default:
      return { ...shared, name: t.schedule };
  }
}
