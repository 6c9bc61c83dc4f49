import { describe, expect, test } from "vitest";
import type { EvalEvent, PairScore, ProbeEvent, StepEvent, TaskScore, TrainEvent } from "../events.ts";
import type { ProbeLimits } from "./forgetting.ts";
import { guard } from "./guard.ts";

const VOCAB = 100; // ln = 4.605
const score = (loss: number): TaskScore => ({ loss, perplexity: Math.exp(loss), token_accuracy: 0, targets: 10 });

function stepAt(step: number, losses: Record<string, number>, targets = 10): StepEvent {
  const tasks = Object.fromEntries(Object.entries(losses).map(([name, loss]) => [name, { loss, targets }]));
  const timing = { seconds: 1, tokens_per_second: 1 };
  const unused = { total_steps: 99, loss: 0, grad_norm: 0, lr: 0, tokens: 0, padded_tokens: 0, target_tokens: 0 };
  return { type: "step", step, ...unused, tasks, timing };
}
function evalAt(step: number, losses: Record<string, number>): EvalEvent {
  const all = Object.values(losses);
  const tasks = Object.fromEntries(Object.entries(losses).map(([name, loss]) => [name, score(loss)]));
  return { type: "eval", step, result: { ...score(all.reduce((a, b) => a + b) / all.length), tasks } };
}
function probeAt(step: number, sets: Record<string, number>, gaps: Record<string, number> = {}): ProbeEvent {
  const pair = (gap: number): PairScore => ({ gap, abs_gap: Math.abs(gap), prefers_a: 0, pairs: 2 });
  return {
    type: "probe",
    step,
    result: {
      sets: Object.fromEntries(Object.entries(sets).map(([name, loss]) => [name, score(loss)])),
      pairs: Object.fromEntries(Object.entries(gaps).map(([name, gap]) => [name, pair(gap)])),
    },
  };
}

async function watched(
  events: readonly TrainEvent[],
  options: { probe?: Partial<ProbeLimits>; history?: readonly TrainEvent[] } = {},
): Promise<TrainEvent[]> {
  const source = async function* (): AsyncGenerator<TrainEvent> {
    yield* events;
  };
  const out: TrainEvent[] = [];
  const probe = { warn: null, stop: null, gapWarn: null, gapStop: null, ...options.probe };
  for await (const event of guard(source(), { vocabSize: VOCAB, history: options.history ?? [], probe }))
    out.push(event);
  return out;
}
const codes = (events: readonly TrainEvent[]): string[] =>
  events.flatMap((event) =>
    event.type === "boundary" || event.type === "sample"
      ? []
      : (event.warnings ?? []).map(({ code, name }) => `${event.step} ${code}${name === undefined ? "" : ` ${name}`}`),
  );

describe("is this base suitable?", () => {
  test("by task at step 0, against ln(vocabulary)", async () => {
    const [start, later] = await watched([evalAt(0, { a: 2, b: 4.5, c: 0.05 }), evalAt(9, { a: 5, b: 5, c: 5 })]);
    expect((start as EvalEvent).suitability).toEqual({
      uniform_loss: Math.log(100),
      tasks: {
        a: { loss: 2, share: 2 / Math.log(100), verdict: "suitable" },
        b: { loss: 4.5, share: 4.5 / Math.log(100), verdict: "unsuitable" },
        c: { loss: 0.05, share: 0.05 / Math.log(100), verdict: "known" },
      },
    });
    expect(codes([start!, later!])).toEqual(["0 BASE_UNSUITABLE b", "0 BASE_KNOWS_DATA c"]);
    expect(later).not.toHaveProperty("suitability");
    expect((start as EvalEvent).warnings![0]!.message).toMatch(/4\.500 per target .*4\.605/);
  });
  test("without eval rows the first step tells: its losses are of the untouched weights", async () => {
    const events = await watched([stepAt(1, { a: 4.6 }), stepAt(2, { a: 4.6 })]);
    expect(codes(events)).toEqual(["1 BASE_UNSUITABLE a"]);
  });
  test("a resumed run does not take its middle for a start", async () => {
    expect(codes(await watched([stepAt(7, { a: 9 }), evalAt(8, { a: 9 })]))).toEqual([]);
    expect(codes(await watched([stepAt(1, { a: 9 })], { history: [evalAt(0, { a: 1 })] }))).toEqual([]);
  });
});

describe("overfitting", () => {
  /** one step with this training loss, then an evaluation */
  const rounds = (pairs: readonly (readonly [train: number, evaluation: number])[]): TrainEvent[] =>
    pairs.flatMap(([train, evaluation], i) => [stepAt(i + 1, { a: train }), evalAt(i + 1, { a: evaluation })]);

  test("three rises on end of the eval loss while the training loss falls; told once", async () => {
    const rising = rounds([[3, 3], [2.9, 2.6], [2.8, 2.61], [2.7, 2.62], [2.6, 2.63], [2.5, 2.64], [2.4, 2.65]]); // prettier-ignore
    expect(codes(await watched(rising))).toEqual(["5 OVERFITTING"]);
    const twoRises = rounds([[3, 3], [2.9, 2.6], [2.8, 2.61], [2.7, 2.62], [2.6, 2.5], [2.5, 2.51]]); // prettier-ignore
    expect(codes(await watched(twoRises))).toEqual([]);
  });
  test("a training loss that rises as well is no overfitting: the run diverges", async () => {
    const both = rounds([[2, 2], [2.1, 2.1], [2.2, 2.2], [2.3, 2.3], [2.4, 2.4]]); // prettier-ignore
    expect(codes(await watched(both))).toEqual([]);
  });
  test("after a better evaluation it can be told again", async () => {
    const twice = rounds([[3, 2], [2.9, 2.1], [2.8, 2.2], [2.7, 2.3], [2.6, 1.9], [2.5, 2], [2.4, 2.1], [2.3, 2.2]]); // prettier-ignore
    expect(codes(await watched(twice))).toEqual(["4 OVERFITTING", "8 OVERFITTING"]);
  });
  test("equal losses are no rise", async () => {
    expect(codes(await watched(rounds([[3, 2], [2.9, 2], [2.8, 2], [2.7, 2], [2.6, 2]])))).toEqual([]); // prettier-ignore
  });

  test("memorisation is told per task, once, where train is at most half of eval and 0.2 nats below", async () => {
    const events = [
      stepAt(1, { a: 2, b: 0.11 }),
      evalAt(1, { a: 2, b: 0.25 }), // b: half, but 0.15 nats
      stepAt(2, { a: 0.9, b: 0.1 }),
      evalAt(2, { a: 1.81, b: 0.31 }),
      stepAt(3, { a: 0.8, b: 0.2 }),
      evalAt(3, { a: 1.9, b: 0.3 }), // b is no longer far below
      stepAt(4, { a: 0.8, b: 0.05 }),
      evalAt(4, { a: 1.9, b: 0.3 }),
    ];
    expect(codes(await watched(events))).toEqual(["2 MEMORISATION a", "2 MEMORISATION b", "4 MEMORISATION b"]);
  });
  test("training losses since the last evaluation are token means", async () => {
    const events = await watched([
      evalAt(0, { a: 2 }),
      stepAt(1, { a: 2 }, 30),
      stepAt(2, { a: 1, b: 3 }, 10),
      evalAt(2, { a: 2 }),
      evalAt(3, { a: 2 }),
    ]);
    const evals = events.filter((event) => event.type === "eval");
    expect(evals[0]).not.toHaveProperty("train_tasks");
    expect(evals[1]!.train_tasks).toEqual({ a: { loss: 1.75, targets: 40 }, b: { loss: 3, targets: 10 } });
    expect(evals[2]).not.toHaveProperty("train_tasks");
  });
  test("a resumed run goes on from what the first one told", async () => {
    const all = rounds([[3, 2], [2.9, 2.1], [2.8, 2.2], [0.7, 2.3], [0.6, 2.4]]); // prettier-ignore
    const whole = await watched(all);
    for (let cut = 0; cut <= all.length; cut++)
      expect(await watched(all.slice(cut), { history: all.slice(0, cut) })).toEqual(whole.slice(cut));
  });
});

describe("forgetting", () => {
  const limits = { warn: 0.1, stop: 0.5, gapWarn: 0.2, gapStop: 2 };
  test("rises are told against the start, not against the last probe", async () => {
    const events = await watched([probeAt(0, { s: 2 }), probeAt(5, { s: 2.08 }), probeAt(9, { s: 2.16 })], {
      probe: limits,
    });
    expect(codes(events)).toEqual(["9 FORGETTING s"]);
    expect((events[2] as ProbeEvent).delta!.sets["s"]).toBeCloseTo(0.16, 12);
  });
  test("the run ends with the probe that shows too much", async () => {
    const events = await watched([probeAt(0, { s: 2 }), probeAt(5, { s: 2.6 }), stepAt(6, { a: 1 })], {
      probe: limits,
    });
    expect(events).toHaveLength(2);
    expect((events[1] as ProbeEvent).stop).toMatch(/probe s: loss 2\.0000 at the start, 2\.6000 now .*limit of 0\.5/);
  });
  test("a bias grows in either direction", async () => {
    const gaps = (...values: number[]): Promise<TrainEvent[]> =>
      watched(
        values.map((gap, i) => probeAt(i, {}, { p: gap })),
        { probe: limits },
      );
    expect(codes(await gaps(0.1, -0.29, 0.25))).toEqual([]);
    expect(codes(await gaps(0.1, -0.31))).toEqual(["1 BIAS_GREW p"]);
    expect(codes(await gaps(-1, 0.5, 1.1))).toEqual([]); // smaller than at the start
    expect(((await gaps(0, 2.1)).at(-1) as ProbeEvent).stop).toContain("pairs p");
  });
  test("the start may lie before a stop", async () => {
    const events = await watched([probeAt(5, { s: 2.6 })], { probe: limits, history: [probeAt(0, { s: 2 })] });
    expect((events[0] as ProbeEvent).stop).toBeDefined();
  });
});
