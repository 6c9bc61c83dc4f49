import { describe, expect, test } from "vitest";
import { createSchedule, type Schedule, type ScheduleOptions } from "./schedule.ts";

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const COUNT = 10_003;
const lengths = range(COUNT).map((i) => 1 + ((i * 7919) % 500));
const make = (extra: Partial<ScheduleOptions> = {}): Schedule =>
  createSchedule({
    tasks: [{ name: "a" }],
    exampleTasks: new Int32Array(COUNT),
    seed: 2,
    batchSize: 8,
    gradAccumulation: 2,
    epochs: 2,
    shuffle: true,
    groupByLength: lengths,
    ...extra,
  });
/** share of a padded epoch that is padding */
function padding(schedule: Schedule): number {
  let padded = 0;
  let real = 0;
  for (const step of range(schedule.stepsPerEpoch)) {
    for (const microBatch of schedule.window(step)) {
      const own = microBatch.map((i) => lengths[i]!);
      padded += Math.max(...own) * own.length;
      real += own.reduce((a, b) => a + b, 0);
    }
  }
  return 1 - real / padded;
}

describe("micro-batches of similar length", () => {
  const schedule = make();
  test("every example once per epoch, micro-batches whole but for the epoch's last", () => {
    for (const epoch of [0, 1]) {
      const steps = range(schedule.stepsPerEpoch).map((s) => schedule.window(epoch * schedule.stepsPerEpoch + s));
      expect(steps.flat(2).sort((a, b) => a - b)).toEqual(range(COUNT));
      const sizes = steps.flat().map((microBatch) => microBatch.length);
      expect(sizes.slice(0, -1).every((size) => size === 8)).toBe(true);
      expect(sizes.at(-1)).toBe(COUNT % 8);
    }
  });
  test("hardly any padding, where a plain order has 40 %", () => {
    const plain = createSchedule({
      tasks: [{ name: "a" }],
      exampleTasks: new Int32Array(COUNT),
      seed: 2,
      batchSize: 8,
      gradAccumulation: 2,
      epochs: 1,
      shuffle: true,
    });
    expect(padding(plain)).toBeGreaterThan(0.4);
    expect(padding(schedule)).toBeLessThan(0.01);
  });
  test("long and short micro-batches alternate, another order each epoch, and a seek equals the walk", () => {
    const longest = (step: number): number =>
      Math.max(
        ...schedule
          .window(step)
          .flat()
          .map((i) => lengths[i]!),
      );
    const first = range(50).map(longest);
    expect(Math.max(...first) - Math.min(...first)).toBeGreaterThan(200);
    expect(schedule.window(0)).not.toEqual(schedule.window(schedule.stepsPerEpoch));
    const last = schedule.totalSteps - 1;
    for (const step of [last, 0, 700, 512]) expect(make().window(step)).toEqual(schedule.window(step));
  });
  test.each<[string, Partial<ScheduleOptions>]>([
    ["file order", { shuffle: false }],
    ["bins", { bins: { lengths, maxLength: 600 } }],
    ["too few lengths", { groupByLength: [1] }],
  ])("%s: refused", (_, extra) => {
    expect(() => make(extra)).toThrow(expect.objectContaining({ code: "SCHEDULE_INVALID" }));
  });
});
