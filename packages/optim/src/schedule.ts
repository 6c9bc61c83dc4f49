/** A learning rate as a function of the step. Numbers and edge cases are those of Hugging Face transformers. */
export type Schedule = {
  /** the peak rate */
  readonly lr: number;
  /** steps during which the rate rises linearly from 0 */
  readonly warmupSteps: number;
  /** length of the run in optimizer steps */
  readonly totalSteps: number;
} & (
  | { readonly name: "constant" | "linear" | "cosine" }
  | { readonly name: "cosine-with-min"; readonly minLr: number }
  | { readonly name: "cosine-restarts"; readonly cycles: number }
  | {
      readonly name: "wsd";
      /** last steps of the run, during which the rate falls */
      readonly decaySteps: number;
      /** shape of the fall */
      readonly decay: "linear" | "cosine" | "1-sqrt";
      /** share of `lr` that warm-up starts from and decay ends at */
      readonly minRatio: number;
    }
  | { readonly name: "polynomial"; readonly power: number; readonly endLr: number }
);

/** Warm-up steps for a ratio of the run: rounded up, as Hugging Face's trainer does. */
export function warmupSteps(ratio: number, totalSteps: number): number {
  return Math.ceil(ratio * totalSteps);
}

/**
 * The rate that optimizer step `step` uses, in float64. Warm-up starts at 0: the first step of a run with warm-up
 * changes nothing.
 *
 * @param step - from 0; may run past `totalSteps`
 * @see transformers `optimization.py`, `get_*_schedule*`
 */
export function learningRate(schedule: Schedule, step: number): number {
  const { lr, warmupSteps: warmup, totalSteps: total } = schedule;
  const rise = step / Math.max(1, warmup);
  if (step < warmup && schedule.name !== "wsd") return lr * rise;
  /** 0 at the end of warm-up, 1 at the end of the run */
  const progress = (step - warmup) / Math.max(1, total - warmup);
  const from = (low: number, share: number): number => low + (lr - low) * share;
  switch (schedule.name) {
    case "constant":
      return lr;
    case "linear":
      return lr * Math.max(0, (total - step) / Math.max(1, total - warmup));
    case "cosine":
      return lr * halfCosine(progress); // rises again past the end
    case "cosine-with-min":
      return from(schedule.minLr, halfCosine(progress));
    case "cosine-restarts":
      return progress >= 1 ? 0 : lr * halfCosine((schedule.cycles * progress) % 1);
    case "wsd": {
      const { decaySteps, decay, minRatio } = schedule;
      const low = minRatio * lr;
      if (step < warmup) return from(low, rise);
      if (step < total - decaySteps) return lr;
      if (step >= total) return low;
      const x = (step - (total - decaySteps)) / Math.max(1, decaySteps);
      return from(low, WSD_DECAY[decay](x));
    }
    case "polynomial": {
      const { power, endLr } = schedule;
      return step > total ? endLr : from(endLr, (1 - progress) ** power);
    }
    default:
      return schedule satisfies never;
  }
}

/** From 1 at x = 0 down to 0 at x = 1. */
function halfCosine(x: number): number {
  return 0.5 * (1 + Math.cos(Math.PI * x));
}

const WSD_DECAY = {
  linear: (x: number): number => 1 - x,
  cosine: halfCosine,
  "1-sqrt": (x: number): number => 1 - Math.sqrt(x),
};
