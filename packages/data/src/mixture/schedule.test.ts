import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createSchedule, type ScheduleOptions } from "./schedule.ts";

/** `sizes[k]` examples of task k, interleaved so that file order is not task order. */
function exampleTasks(sizes: readonly number[]): number[] {
  const left = [...sizes];
  const out: number[] = [];
  while (left.some((n) => n > 0)) left.forEach((n, k) => n > 0 && (out.push(k), left[k]!--));
  return out;
}
const base = (sizes: readonly number[], extra: Partial<ScheduleOptions> = {}): ScheduleOptions => ({
  tasks: sizes.map((_, k) => ({ name: `task${k}` })),
  exampleTasks: exampleTasks(sizes),
  seed: 3,
  batchSize: 4,
  gradAccumulation: 1,
  shuffle: true,
  ...(extra.maxSteps === undefined ? { epochs: 1 } : {}),
  ...extra,
});
const weights = (...values: number[]): ScheduleOptions["tasks"] =>
  values.map((samplingWeight, k) => ({ name: `task${k}`, samplingWeight }));
const walk = (options: ScheduleOptions): number[] => {
  const schedule = createSchedule(options);
  return Array.from({ length: schedule.totalSteps }, (_, step) => schedule.window(step).flat()).flat();
};
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const ascending = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

describe("without sampling weights", () => {
  test("each epoch holds every example once, in its own order", () => {
    const draws = walk(base([7, 12, 1], { epochs: 3 }));
    const epochs = [0, 1, 2].map((e) => draws.slice(e * 20, e * 20 + 20));
    for (const epoch of epochs) expect(ascending(epoch)).toEqual(range(20));
    expect(epochs[0]).not.toEqual(epochs[1]);
    expect(epochs[0]).not.toEqual(range(20));
  });
  test("windows: the last of an epoch is smaller and used", () => {
    const schedule = createSchedule(base([11], { gradAccumulation: 2, epochs: 2 }));
    expect(schedule).toMatchObject({ totalSteps: 4, stepsPerEpoch: 2 });
    expect(range(4).map((step) => schedule.window(step).map((m) => m.length))).toEqual([[4, 4], [3], [4, 4], [3]]);
    expect(range(4).map((step) => schedule.epochAt(step))).toEqual([0, 8 / 11, 1, 1 + 8 / 11]);
  });
  test("(batch 8 × 1) and (1 × 8) draw the same examples in the same steps", () => {
    const wide = createSchedule(base([21], { batchSize: 8, gradAccumulation: 1, epochs: 2 }));
    const deep = createSchedule(base([21], { batchSize: 1, gradAccumulation: 8, epochs: 2 }));
    for (const step of range(wide.totalSteps)) expect(deep.window(step).flat()).toEqual(wide.window(step).flat());
  });
  test("fractional epochs round their steps up; max_steps counts windows", () => {
    expect(createSchedule(base([40], { epochs: 1.5 })).totalSteps).toBe(15);
    expect(createSchedule(base([40], { epochs: 0.01 })).totalSteps).toBe(1);
    expect(createSchedule(base([40], { epochs: 1.1 })).totalSteps).toBe(11); // 1.1 · 10 in binary is a little more
    expect(createSchedule(base([10], { maxSteps: 7 })).totalSteps).toBe(7); // 3 steps an epoch
    expect(walk(base([10], { maxSteps: 7 })).length).toBe(10 + 10 + 4);
    expect(
      createSchedule(base([4], { maxSteps: 1e9 }))
        .window(1e9 - 1)
        .flat().length,
    ).toBe(4);
  });
  test("without shuffle: file order", () => {
    expect(walk(base([3, 3], { shuffle: false, epochs: 2 }))).toEqual([...range(6), ...range(6)]);
  });
  test("max_epochs: a task leaves, the others stay", () => {
    const options = base([4, 6], { epochs: 3, tasks: [{ name: "a", maxEpochs: 1 }, { name: "b" }] });
    const draws = walk(options);
    const of = (task: number): number[] => draws.filter((example) => options.exampleTasks[example] === task);
    expect([of(0).length, of(1).length]).toEqual([4, 18]);
    expect(createSchedule(options)).toMatchObject({ stepsPerEpoch: 3, totalSteps: 3 + 2 + 2 });
  });
  test("seek equals walk, for any options", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 3 }),
        fc.maxSafeNat(),
        (sizes, batchSize, gradAccumulation, seed) => {
          const options = base(sizes, { batchSize, gradAccumulation, seed, epochs: 2 });
          const schedule = createSchedule(options);
          const backwards = range(schedule.totalSteps)
            .reverse()
            .map((step) => createSchedule(options).window(step))
            .reverse();
          expect(range(schedule.totalSteps).map((step) => schedule.window(step))).toEqual(backwards);
          const n = options.exampleTasks.length;
          expect(ascending(backwards.flat(2).slice(0, n))).toEqual(range(n));
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe("with sampling weights", () => {
  test("each cycle of 1,000 draws holds the quotas exactly; an epoch has as many draws as examples", () => {
    const options = base([500, 1000, 1500], { tasks: weights(5, 3, 2) });
    const draws = walk(options);
    expect(draws.length).toBe(3000);
    for (const cycle of [0, 1, 2]) {
      const counts = [0, 0, 0];
      for (const example of draws.slice(cycle * 1000, cycle * 1000 + 1000)) counts[options.exampleTasks[example]!]!++;
      expect(counts).toEqual([500, 300, 200]);
    }
    const tasksOf = (cycle: number): number[] =>
      draws.slice(cycle * 1000, cycle * 1000 + 1000).map((e) => options.exampleTasks[e]!);
    expect(tasksOf(0)).not.toEqual(tasksOf(1));
  });
  test("each task walks a permutation of its own and takes a new one at its end", () => {
    const options = base([6, 900], { tasks: weights(1, 1), epochs: 1 });
    const small = walk(options).filter((example) => options.exampleTasks[example] === 0);
    const rounds = range(Math.floor(small.length / 6)).map((r) => small.slice(r * 6, r * 6 + 6));
    for (const round of rounds) expect(new Set(round).size).toBe(6);
    expect(new Set(rounds.map(String)).size).toBeGreaterThan(rounds.length / 2);
  });
  test("a task's order does not depend on the other tasks", () => {
    const of = (options: ScheduleOptions): number[] => {
      const own = range(options.exampleTasks.length).filter((i) => options.exampleTasks[i] === 0);
      return walk(options)
        .filter((e) => options.exampleTasks[e] === 0)
        .map((e) => own.indexOf(e));
    };
    const one = of(base([50, 400], { tasks: weights(1, 1) }));
    const other = of(base([50, 333], { tasks: weights(1, 2) }));
    expect(one.slice(0, 50)).toEqual(other.slice(0, 50));
  });
  test("seek equals walk across cycles, epochs and caps", () => {
    const options = base([40, 70, 900], {
      tasks: [
        { name: "a", samplingWeight: 2, maxEpochs: 3 },
        { name: "b", samplingWeight: 1 },
        { name: "c", samplingWeight: 1 },
      ],
      batchSize: 7,
      gradAccumulation: 3,
      epochs: 3,
    });
    const schedule = createSchedule(options);
    const forward = range(schedule.totalSteps).map((step) => schedule.window(step));
    for (const step of [schedule.totalSteps - 1, 0, 71, 48, 49])
      expect(createSchedule(options).window(step)).toEqual(forward[step]);
    const draws = forward.flat(2);
    expect(draws.length).toBe(3 * 1010);
    const times = new Map<number, number>();
    for (const example of draws.filter((e) => options.exampleTasks[e] === 0))
      times.set(example, (times.get(example) ?? 0) + 1);
    expect([...times.values()]).toEqual(Array.from({ length: 40 }, () => 3));
  });
  test("without shuffle: interleaved by share, each task in file order", () => {
    const options = base([300, 700], { tasks: weights(3, 7), shuffle: false });
    const draws = walk(options);
    const tasks = draws.map((example) => options.exampleTasks[example]!);
    expect(tasks.slice(0, 10).filter((task) => task === 0).length).toBe(3);
    for (let from = 0; from + 10 <= 1000; from++) {
      const zeros = tasks.slice(from, from + 10).filter((task) => task === 0).length;
      expect(Math.abs(zeros - 3)).toBeLessThanOrEqual(1);
    }
    const own = draws.filter((e) => options.exampleTasks[e] === 0);
    expect(own).toEqual(ascending(own));
  });
  test("caps that leave too little are an error that says how far the data reach", () => {
    const tasks = [
      { name: "a", samplingWeight: 1, maxEpochs: 1 },
      { name: "b", samplingWeight: 1, maxEpochs: 1 },
    ];
    expect(walk(base([5, 3], { tasks })).length).toBe(8);
    expect(() => createSchedule(base([5, 3], { tasks, epochs: 2 }))).toThrow(
      expect.objectContaining({ code: "SCHEDULE_EXHAUSTED" }),
    );
    expect(() => createSchedule(base([5, 3], { tasks, maxSteps: 3 }))).toThrow(
      expect.objectContaining({ code: "SCHEDULE_EXHAUSTED" }),
    );
  });
});

describe("what is refused", () => {
  test.each([
    ["one task with a weight", base([3], { tasks: weights(1) }), "MIXTURE_INVALID"],
    [
      "a weight for some",
      base([3, 3], { tasks: [{ name: "a", samplingWeight: 1 }, { name: "b" }] }),
      "MIXTURE_INVALID",
    ],
    ["a weight of zero", base([3, 3], { tasks: weights(1, 0) }), "MIXTURE_INVALID"],
    ["a share below one slot", base([3, 3], { tasks: weights(1, 1e-5) }), "MIXTURE_INVALID"],
    ["half an epoch as a cap", base([3], { tasks: [{ name: "a", maxEpochs: 0.5 }] }), "MIXTURE_INVALID"],
    ["an empty task", base([3, 0]), "TASK_EMPTY"],
    ["no task", base([]), "TASK_EMPTY"],
    ["no batch", base([3], { batchSize: 0 }), "SCHEDULE_INVALID"],
    ["epochs and max_steps", { ...base([3]), maxSteps: 3 }, "SCHEDULE_INVALID"],
    ["neither", { ...base([3]), epochs: undefined }, "SCHEDULE_INVALID"],
    ["a seed that is no integer", base([3], { seed: 0.5 }), "SCHEDULE_INVALID"],
  ])("%s", (_, options, code) => {
    expect(() => createSchedule(options)).toThrow(expect.objectContaining({ code }));
  });
  test("a step outside the run", () => {
    const schedule = createSchedule(base([3]));
    expect(() => schedule.window(1)).toThrow(expect.objectContaining({ code: "SCHEDULE_INVALID" }));
  });
});

test("micro-batches may be cut: the same examples of the same step, bins stay whole", () => {
  const tasks = [{ name: "a" }];
  const exampleTasks = new Int32Array(23);
  const plain = { tasks, exampleTasks, seed: 3, batchSize: 5, gradAccumulation: 2, epochs: 2, shuffle: true };
  const lengths = Int32Array.from(exampleTasks, (_, i) => 1 + ((i * 7) % 10));
  for (const options of [plain, { ...plain, bins: { lengths, maxLength: 12 } }]) {
    const schedule = createSchedule(options);
    for (let step = 0; step < schedule.totalSteps; step++) {
      const whole = schedule.window(step);
      expect(schedule.window(step, 2).flat()).toEqual(whole.flat());
      expect(schedule.window(step, 5)).toEqual(whole);
      // parts of one micro-batch never reach into the next
      const borders = (parts: number[][]): number[] => parts.map((_, i) => parts.slice(0, i + 1).flat().length);
      expect(borders(schedule.window(step, 2))).toEqual(expect.arrayContaining(borders(whole)));
      if (options === plain) expect(Math.max(...schedule.window(step, 2).map((part) => part.length))).toBe(2);
    }
  }
});
