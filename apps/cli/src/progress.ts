import type { EvalEvent, StepEvent } from "@tunesmith/sft";
import type { Context } from "./context.ts";

/** Between two lines about steps, so that fast runs do not flood the terminal. */
const PAUSE_MS = 1000;

/** Tells a person how a run goes: the first and last step, one about every second, and every evaluation. */
export function trainProgress({ say }: Pick<Context, "say">): {
  step(event: StepEvent): void;
  evaluation(event: EvalEvent): void;
} {
  let last = -Infinity;
  let first: { readonly step: number; readonly at: number } | undefined;
  return {
    step: ({ step, total_steps: total, loss, grad_norm: norm, lr, timing }) => {
      const now = performance.now();
      // the first step compiles kernels and says nothing about the others
      first ??= { step, at: now };
      if (step !== 1 && step !== total && now - last < PAUSE_MS) return;
      last = now;
      const rate = `${Math.round(timing.tokens_per_second)} tokens/s`;
      const left =
        step === first.step ? "" : `  ${clock(((total - step) * (now - first.at)) / (step - first.step))} left`;
      say(
        `step ${step}/${total}  loss ${loss.toFixed(4)}  norm ${norm.toFixed(3)}  lr ${lr.toExponential(2)}  ${rate}${left}`,
      );
    },
    evaluation: ({ step, result }) => {
      const { loss, perplexity, token_accuracy: accuracy } = result;
      say(
        `step ${step}  eval loss ${loss.toFixed(4)}  perplexity ${perplexity.toFixed(2)}  token accuracy ${accuracy.toFixed(3)}`,
      );
    },
  };
}

/** Milliseconds as m:ss. */
function clock(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
