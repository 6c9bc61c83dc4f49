// What a run has cost: the probe before and after, for sft.json, `train --json` and a person.

import { type ProbeEvent, probeDelta } from "@tunesmith/sft";

/** Of one set: loss in nats per target; of one set of pairs: gap in nats. */
export interface ProbeChange {
  readonly before: number;
  readonly after: number;
  /** after − before; of a gap, of its size */
  readonly delta: number;
}

export interface ProbeReport {
  /** of the last probe */
  readonly step: number;
  readonly sets: Readonly<Record<string, ProbeChange>>;
  readonly pairs: Readonly<Record<string, ProbeChange>>;
}

/** @param probes - of the whole run, the untouched start first */
export function probeReport(probes: readonly ProbeEvent[]): ProbeReport | undefined {
  const [first, last] = [probes[0], probes.at(-1)];
  if (!first || !last) return undefined;
  const delta = probeDelta(first.result, last.result);
  const changes = <S>(
    before: Readonly<Record<string, S>>,
    after: Readonly<Record<string, S>>,
    deltas: Readonly<Record<string, number>>,
    value: (score: S) => number,
  ): Record<string, ProbeChange> =>
    Object.fromEntries(
      Object.entries(after).map(([name, score]) => [
        name,
        { before: value(before[name]!), after: value(score), delta: deltas[name]! },
      ]),
    );
  return {
    step: last.step,
    sets: changes(first.result.sets, last.result.sets, delta.sets, ({ loss }) => loss),
    pairs: changes(first.result.pairs, last.result.pairs, delta.pairs, ({ gap }) => gap),
  };
}

/** A line per set. */
export function probeLines({ step, sets, pairs }: ProbeReport): string[] {
  const line = (what: string, [name, { before, after, delta }]: [string, ProbeChange]): string =>
    `probe ${name}: ${what} ${before.toFixed(4)} before, ${after.toFixed(4)} after step ${step} (${delta < 0 ? "" : "+"}${delta.toFixed(4)})`;
  return [
    ...Object.entries(sets).map((entry) => line("loss", entry)),
    ...Object.entries(pairs).map((entry) => line("gap", entry)),
  ];
}
