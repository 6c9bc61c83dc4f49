// Watches a run: adds to its events what their numbers mean, and ends it where a limit says so.

import type { TrainEvent } from "../events.ts";
import type { Findings, Warning } from "./findings.ts";
import { ForgettingGuard, type ProbeLimits } from "./forgetting.ts";
import { OverfittingGuard } from "./overfitting.ts";
import { suitability, suitabilityWarnings } from "./suitability.ts";

export interface GuardOptions {
  readonly vocabSize: number;
  /** default: nothing is too much */
  readonly probe?: ProbeLimits;
  /** what a resumed run told before it stopped, in order */
  readonly history?: Iterable<TrainEvent>;
}

const NO_LIMITS: ProbeLimits = { warn: null, stop: null, gapWarn: null, gapStop: null };

/**
 * Passes events on with their {@link Findings}, and ends after one with `stop`.
 *
 * @example for await (const event of guard(train(tuning, options), { vocabSize })) …
 */
export async function* guard<E extends TrainEvent>(
  events: AsyncIterable<E>,
  { vocabSize, probe = NO_LIMITS, history = [] }: GuardOptions,
): AsyncGenerator<E, void, undefined> {
  const findings = observer(vocabSize, probe);
  for (const event of history) findings(event);
  for await (const event of events) {
    const found = findings(event);
    yield { ...event, ...found };
    if (found.stop !== undefined) return;
  }
}

function observer(vocabSize: number, limits: ProbeLimits): (event: TrainEvent) => Findings {
  const overfitting = new OverfittingGuard();
  const forgetting = new ForgettingGuard(limits);
  let started = false;
  const start = (event: Extract<TrainEvent, { type: "step" | "eval" }>): Suitability => {
    const untouched = event.type === "step" ? event.step === 1 : event.step === 0; // a step's loss is of the weights before it
    if (started || !untouched) return { warnings: [] };
    started = true;
    const found = suitability(event.type === "step" ? event.tasks : event.result.tasks, vocabSize);
    return { suitability: found, warnings: suitabilityWarnings(found) };
  };
  return (event) => {
    switch (event.type) {
      case "step":
        overfitting.step(event.tasks);
        return tidy(start(event));
      case "eval": {
        const { tasks, warnings } = overfitting.evaluation(event.result);
        const { suitability: found, warnings: first } = start(event);
        return tidy({ suitability: found, train_tasks: tasks, warnings: [...first, ...warnings] });
      }
      case "probe":
        return tidy(forgetting.probe(event.result));
      case "sample":
      case "boundary":
        return {};
      default:
        return event satisfies never;
    }
  };
}

type Suitability = { suitability?: Findings["suitability"]; warnings: Warning[] };

/** Without what has nothing to say. */
function tidy(found: { [K in keyof Findings]: Findings[K] | undefined }): Findings {
  const { warnings, ...rest } = found;
  const said = Object.entries(rest).filter(([, value]) => value !== undefined);
  return { ...(Object.fromEntries(said) as Findings), ...(warnings && warnings.length > 0 ? { warnings } : {}) };
}
