import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { createSchedule, type Schedule, type ScheduleOptions } from "./schedule.ts";
import { samplingWeights } from "./weights.ts";

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
/** Tasks of the given sizes, one after the other. */
const options = (
  tasks: readonly { size: number; weight?: number; maxEpochs?: number }[],
  extra: Partial<ScheduleOptions> = {},
): ScheduleOptions => ({
  tasks: tasks.map(({ weight, maxEpochs }, k) => ({ name: `t${k}`, samplingWeight: weight, maxEpochs })),
  exampleTasks: tasks.flatMap(({ size }, k) => range(size).map(() => k)),
  seed: 11,
  batchSize: 4,
  gradAccumulation: 1,
  shuffle: true,
  ...(extra.maxSteps === undefined ? { epochs: 1 } : {}),
  ...extra,
});
/** Tasks drawn in the steps from…to − 1. */
function counts(schedule: Schedule, { tasks, exampleTasks }: ScheduleOptions, from: number, to: number): number[] {
  const drawn = tasks.map(() => 0);
  for (let step = from; step < to; step++)
    for (const example of schedule.window(step).flat()) drawn[exampleTasks[example]!]!++;
  return drawn;
}
/** 32-bit products of Philox: what permutations cost. */
function operations(run: () => void): number {
  const imul = vi.spyOn(Math, "imul");
  try {
    run();
    return imul.mock.calls.length;
  } finally {
    imul.mockRestore();
  }
}

describe("rules for sampling weights", () => {
  test("proportional, equal, and temperatures between them", () => {
    expect(samplingWeights("proportional", [30, 10])).toEqual([30, 10]);
    expect(samplingWeights("equal", [30, 10])).toEqual([1, 1]);
    const [a, b] = samplingWeights("temperature", [16, 1], 2);
    expect(a! / b!).toBeCloseTo(4, 12);
    const [c, d] = samplingWeights("temperature", [1e9, 1], 1);
    expect(c! / d!).toBeCloseTo(1e9, 0);
  });
  test.each([undefined, 0, -1, NaN, Infinity])("the temperature %s is refused", (temperature) => {
    expect(() => samplingWeights("temperature", [1, 2], temperature)).toThrow(
      expect.objectContaining({ code: "MIXTURE_INVALID" }),
    );
  });
});

describe("a mixture over a million draws", () => {
  const mixed = options(
    [
      { size: 5000, weight: 0.61 },
      { size: 40, weight: 0.3 },
      { size: 800, weight: 0.09 },
    ],
    {
      batchSize: 50,
      gradAccumulation: 2,
      maxSteps: 11_000,
    },
  );
  test("per-task counts are within one draw of the share in every cycle of 1,000", () => {
    const schedule = createSchedule(mixed);
    let draws: number[] = [];
    let total = 0;
    for (let step = 0; total < 1_000_000; step++) {
      draws.push(...schedule.window(step).flat());
      while (draws.length >= 1000) {
        const cycle = [0, 0, 0];
        for (const example of draws.slice(0, 1000)) cycle[mixed.exampleTasks[example]!]!++;
        for (const [k, share] of [610, 300, 90].entries()) expect(Math.abs(cycle[k]! - share)).toBeLessThanOrEqual(1);
        draws = draws.slice(1000);
        total += 1000;
      }
    }
  });
});

describe("seeking", () => {
  // sizes are powers of four, whose permutations need no second walk, so that counts do not depend on the draw
  test.each([
    ["plain", options([{ size: 1024 }], { maxSteps: 2e7 })],
    ["plain, two tasks with a cap", options([{ size: 1024 }, { size: 3072, maxEpochs: 3 }], { maxSteps: 2e7 })],
  ])("%s: step 10,000,000 costs what step 1 costs", (_, given) => {
    const cost = (step: number): number => operations(() => createSchedule(given).window(step));
    expect(cost(10_000_000)).toBe(cost(1));
    expect(cost(1)).toBeGreaterThan(0);
  });
  test("by weight: the cycle's table and the draws, wherever the step is", () => {
    const given = options(
      [
        { size: 1024, weight: 2 },
        { size: 256, weight: 1 },
      ],
      { maxSteps: 2e7 },
    );
    const cost = (step: number): number => operations(() => createSchedule(given).window(step));
    const near = range(5).map((i) => cost(1 + i * 250));
    const far = range(5).map((i) => cost(10_000_000 + i * 250));
    const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    expect(Math.abs(mean(far) / mean(near) - 1)).toBeLessThan(0.05);
  });
});

describe("weights that change", () => {
  const given = options(
    [
      { size: 500, weight: 1 },
      { size: 300, weight: 1 },
    ],
    {
      epochs: 10,
      weightChanges: [
        { step: 101, weights: { t0: 1, t1: 0 } },
        { step: 501, weights: { t0: 1, t1: 3 } },
      ],
    },
  );
  test("hold from their step on, exactly", () => {
    const schedule = createSchedule(given);
    expect(counts(schedule, given, 0, 100)).toEqual([200, 200]);
    expect(counts(schedule, given, 100, 500)).toEqual([1600, 0]);
    expect(counts(schedule, given, 500, 1000)).toEqual([500, 1500]);
  });
  test("a seek equals the walk on both sides of a change", () => {
    const schedule = createSchedule(given);
    const forward = range(schedule.totalSteps).map((step) => schedule.window(step));
    for (const step of [999, 0, 100, 99, 500, 499, 250])
      expect(createSchedule(given).window(step)).toEqual(forward[step]);
  });
  test("steps are counted across the smaller windows at the ends of epochs", () => {
    const odd = options(
      [
        { size: 5, weight: 1 },
        { size: 6, weight: 1 },
      ],
      {
        epochs: 6, // 3 steps of 4, 4 and 3 draws each
        weightChanges: [{ step: 8, weights: { t0: 1, t1: 0 } }],
      },
    );
    const schedule = createSchedule(odd);
    expect(counts(schedule, odd, 7, 18)[1]).toBe(0);
    expect(counts(schedule, odd, 0, 7)).toEqual([13, 13]); // 2 epochs of 11 and 4 draws, by largest remainder
  });
  test("any mixture: quotas within one, nothing drawn twice before a task's end, seek = walk", () => {
    const task = fc.record({ size: fc.integer({ min: 1, max: 60 }), weight: fc.integer({ min: 1, max: 9 }) });
    fc.assert(
      fc.property(
        fc.array(task, { minLength: 2, maxLength: 5 }),
        fc.integer({ min: 2, max: 40 }),
        fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 5, maxLength: 5 }),
        fc.nat(1000),
        (tasks, step, later, seed) => {
          fc.pre(later.slice(0, tasks.length).some((weight) => weight > 0));
          const weights = Object.fromEntries(tasks.map((_, k) => [`t${k}`, later[k]!]));
          const any = options(tasks, { seed, maxSteps: 60, weightChanges: [{ step, weights }] });
          const schedule = createSchedule(any);
          const forward = range(60).map((s) => schedule.window(s));
          for (const s of [59, step - 1, 0]) expect(createSchedule(any).window(s)).toEqual(forward[s]);
          const before = counts(schedule, any, 0, step - 1);
          const draws = before.reduce((a, b) => a + b, 0);
          const sum = tasks.reduce((total, { weight }) => total + weight, 0);
          // fewer than 1,000 draws: one cut cycle
          tasks.forEach(({ weight }, k) => expect(Math.abs(before[k]! - (weight / sum) * draws)).toBeLessThan(1));
          for (const [k, { size }] of tasks.entries()) {
            const own = forward.flat(2).filter((example) => any.exampleTasks[example] === k);
            for (let at = 0; at + size <= own.length; at += size)
              expect(new Set(own.slice(at, at + size)).size).toBe(size);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
  test("a task with a cap that no later weight draws ends the data, said before the run", () => {
    const capped = options(
      [
        { size: 10, weight: 1, maxEpochs: 1 },
        { size: 10, weight: 1 },
      ],
      {
        epochs: 2,
        weightChanges: [{ step: 2, weights: { t0: 1, t1: 0 } }],
      },
    );
    expect(() => createSchedule(capped)).toThrow(expect.objectContaining({ code: "SCHEDULE_EXHAUSTED" }));
  });
  test.each<[string, Partial<ScheduleOptions>]>([
    ["a change at the start", { weightChanges: [{ step: 1, weights: { t0: 1, t1: 1 } }] }],
    [
      "changes out of order",
      {
        weightChanges: [
          { step: 5, weights: { t0: 1, t1: 1 } },
          { step: 5, weights: { t0: 1, t1: 2 } },
        ],
      },
    ],
    ["a task without a weight", { weightChanges: [{ step: 3, weights: { t0: 1 } }] }],
    ["an unknown task", { weightChanges: [{ step: 3, weights: { t0: 1, t1: 1, t2: 1 } }] }],
    ["weights of zero", { weightChanges: [{ step: 3, weights: { t0: 0, t1: 0 } }] }],
    ["a share below one slot", { weightChanges: [{ step: 3, weights: { t0: 1, t1: 1e-6 } }] }],
    [
      "bins",
      {
        weightChanges: [{ step: 3, weights: { t0: 1, t1: 1 } }],
        bins: { lengths: range(800).map(() => 3), maxLength: 8 },
      },
    ],
    [
      "groups by length",
      { weightChanges: [{ step: 3, weights: { t0: 1, t1: 1 } }], groupByLength: range(800).map(() => 3) },
    ],
    ["no weights at the start", { tasks: [{ name: "t0" }, { name: "t1" }] }],
  ])("%s: refused", (_, extra) => {
    expect(() => createSchedule({ ...given, ...extra })).toThrow(expect.objectContaining({ code: "MIXTURE_INVALID" }));
  });
});
