// What a run has cost: a probe's scores against those of its start.

import type { ProbeResult } from "../events.ts";
import type { Findings, Warning } from "./findings.ts";

/** Rises since the start, in nats; null: none is too much. */
export interface ProbeLimits {
  /** of a set's loss per target: warn, or end the run, above */
  readonly warn: number | null;
  readonly stop: number | null;
  /** of |gap| of a set of counterfactual pairs */
  readonly gapWarn: number | null;
  readonly gapStop: number | null;
}

export class ForgettingGuard {
  readonly #limits: ProbeLimits;
  #start: ProbeResult | undefined;
  /** sets over their limit that a warning told of */
  readonly #told = new Set<string>();

  constructor(limits: ProbeLimits) {
    this.#limits = limits;
  }

  /** The first result is the start that all others are compared with. */
  probe(result: ProbeResult): Pick<Findings, "delta" | "stop"> & { warnings: Warning[] } {
    const start = (this.#start ??= result);
    const delta = probeDelta(start, result);
    const { warn, stop, gapWarn, gapStop } = this.#limits;
    const rises = [
      ...Object.entries(delta.sets).map(([name, rise]) => {
        const [before, now] = [start.sets[name]!.loss, result.sets[name]!.loss];
        const said = `probe ${name}: loss ${before.toFixed(4)} at the start, ${now.toFixed(4)} now (${signed(rise)})`;
        return { code: "FORGETTING" as const, name, rise, warn, stop, said, means: "the model forgets" };
      }),
      ...Object.entries(delta.pairs).map(([name, rise]) => {
        const [before, now] = [start.pairs[name]!.gap, result.pairs[name]!.gap];
        const said = `pairs ${name}: gap ${signed(before)} at the start, ${signed(now)} now`;
        return { code: "BIAS_GREW" as const, name, rise, warn: gapWarn, stop: gapStop, said, means: "the bias grew" };
      }),
    ];
    const warnings: Warning[] = [];
    let stopped: string | undefined;
    for (const { code, name, rise, warn: least, stop: most, said, means } of rises) {
      const key = `${code} ${name}`;
      const over = least !== null && rise > least;
      if (over && !this.#told.has(key))
        warnings.push({
          code,
          name,
          message: `${said}: ${means}; mix such rows into data.train, hold the model to its base with regularize.kl_to_base, or lower train.learning_rate`,
        });
      if (over) this.#told.add(key);
      else this.#told.delete(key);
      if (most !== null && rise > most) stopped ??= `${said}: more than probe's limit of ${most}`;
    }
    return { delta, warnings, ...(stopped === undefined ? {} : { stop: stopped }) };
  }
}

/** Loss of each set, and |gap| of each set of pairs, less that of the start. */
export function probeDelta(start: ProbeResult, now: ProbeResult): NonNullable<Findings["delta"]> {
  return {
    sets: Object.fromEntries(
      Object.entries(now.sets).map(([name, { loss }]) => [name, loss - (start.sets[name]?.loss ?? loss)]),
    ),
    pairs: Object.fromEntries(
      Object.entries(now.pairs).map(([name, { gap }]) => [
        name,
        Math.abs(gap) - Math.abs(start.pairs[name]?.gap ?? gap),
      ]),
    ),
  };
}

function signed(value: number): string {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(4)}`;
}
