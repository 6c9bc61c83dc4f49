import type { EvalEvent, Findings, ProbeEvent, StepEvent } from "@tunesmith/sft";
import type { Context } from "./context.ts";

/** Between two lines about steps, so that fast runs do not flood the terminal. */
const PAUSE_MS = 1000;

/** Tells a person how a run goes: the first and last step, one about every second, every evaluation and probe, and warnings. */
export function trainProgress({ say }: Pick<Context, "say">): {
  step(event: StepEvent): void;
  evaluation(event: EvalEvent): void;
  probe(event: ProbeEvent): void;
} {
  const tell = ({ warnings = [], stop }: Findings): void => {
    for (const { message } of warnings) say(`warning: ${message}`);
    if (stop !== undefined) say(`stopped: ${stop}`);
  };
  let last = -Infinity;
  let first: { readonly step: number; readonly at: number } | undefined;
  return {
    step: (event) => {
      if (event.suitability) say(suitabilityText(event.suitability));
      tell(event);
      const { step, total_steps: total, loss, grad_norm: norm, lr, timing } = event;
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
    evaluation: (event) => {
      const { step, result, suitability } = event;
      const { loss, perplexity, token_accuracy: accuracy } = result;
      say(
        `step ${step}  eval loss ${loss.toFixed(4)}  perplexity ${perplexity.toFixed(2)}  token accuracy ${accuracy.toFixed(3)}`,
      );
      if (suitability) say(suitabilityText(suitability));
      tell(event);
    },
    probe: (event) => {
      const { step, result, delta } = event;
      const sets = Object.entries(result.sets).map(
        ([name, { loss }]) => `${name} ${loss.toFixed(4)} (${signed(delta?.sets[name] ?? 0)})`,
      );
      const pairs = Object.entries(result.pairs).map(([name, { gap }]) => `${name} gap ${signed(gap)}`);
      say(`step ${step}  probe ${[...sets, ...pairs].join("  ")}`);
      tell(event);
    },
  };
}

/** Is this base suitable? */
function suitabilityText({ uniform_loss: uniform, tasks }: NonNullable<Findings["suitability"]>): string {
  const shares = Object.entries(tasks).map(([name, { share, verdict }]) => `${name} ${share.toFixed(2)} (${verdict})`);
  return `before training, as shares of ln(vocabulary) ${uniform.toFixed(3)}: ${shares.join(", ")}`;
}

function signed(value: number): string {
  return `${value < 0 ? "" : "+"}${value.toFixed(4)}`;
}

/** Milliseconds as m:ss. */
function clock(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
