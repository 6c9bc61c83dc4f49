import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { packWindow } from "./bins.ts";
import { createSchedule, type Schedule } from "./schedule.ts";

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const ascending = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

describe("packWindow", () => {
  test("best fit decreasing, by hand", () => {
    // 7 | 6 | 5+5 would be first fit of the order drawn; decreasing: 7+3, 6+4, 5+5
    const lengths = [5, 3, 7, 5, 4, 6];
    const packed = packWindow(range(6), { lengths, exampleTasks: new Int32Array(6), maxLength: 10 });
    expect(packed).toEqual([
      [0, 3],
      [1, 2],
      [4, 5],
    ]);
    // best fit: the 2 goes to the bin with room 2, not to the one with room 3
    expect(packWindow(range(3), { lengths: [7, 8, 2], exampleTasks: [0, 0, 0], maxLength: 10 })).toEqual([[0], [1, 2]]);
  });
  test("every example once, no bin too full, one task per bin, near the bound, for any lengths", () => {
    const item = fc.tuple(fc.integer({ min: 1, max: 70 }), fc.nat(2));
    fc.assert(
      fc.property(fc.array(item, { maxLength: 200 }), fc.constantFrom(31, 32, 33, 64), (items, maxLength) => {
        const lengths = items.map(([length]) => length);
        const exampleTasks = items.map(([, task]) => task);
        const packed = packWindow(range(items.length), { lengths, exampleTasks, maxLength });
        expect(ascending(packed.flat())).toEqual(range(items.length));
        for (const bin of packed) {
          expect(new Set(bin.map((i) => exampleTasks[i])).size).toBe(1);
          const tokens = bin.reduce((sum, i) => sum + lengths[i]!, 0);
          expect(tokens <= maxLength || bin.length === 1).toBe(true);
        }
        for (const task of [0, 1, 2]) {
          const own = range(items.length).filter((i) => exampleTasks[i] === task && lengths[i]! <= maxLength);
          const used = packed.filter((bin) => own.includes(bin[0]!)).length;
          const atLeast = Math.ceil(own.reduce((sum, i) => sum + lengths[i]!, 0) / maxLength);
          // two half-full bins are never left open side by side, so all but one are more than half full
          expect(used).toBeLessThanOrEqual(Math.max(1, 2 * atLeast));
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe("a schedule of bins", () => {
  const lengths = range(10_000).map((i) => 1 + ((i * 7919) % 97));
  const make = (extra: object = {}): Schedule =>
    createSchedule({
      tasks: [{ name: "a" }, { name: "b" }],
      exampleTasks: range(10_000).map((i) => i % 2),
      seed: 4,
      batchSize: 3,
      gradAccumulation: 2,
      epochs: 2,
      shuffle: true,
      bins: { lengths, maxLength: 128 },
      ...extra,
    });
  const schedule = make();

  test("batch_size counts bins, and every example comes once per epoch", () => {
    const steps = range(schedule.stepsPerEpoch).map((step) => schedule.window(step));
    expect(ascending(steps.flat(2))).toEqual(range(10_000));
    for (const microBatch of steps.flat()) {
      expect(microBatch.reduce((sum, i) => sum + lengths[i]!, 0)).toBeLessThanOrEqual(3 * 128);
    }
    const fewest = lengths.reduce((a, b) => a + b, 0) / (128 * 6);
    expect(schedule.stepsPerEpoch).toBeLessThan(1.02 * fewest + 1);
  });
  test("seek equals walk, and a new epoch has other bins", () => {
    for (const step of [schedule.totalSteps - 1, 0, schedule.stepsPerEpoch]) {
      expect(make().window(step)).toEqual(schedule.window(step));
    }
    expect(schedule.window(schedule.stepsPerEpoch)).not.toEqual(schedule.window(0));
    expect(make({ seed: 5 }).window(0)).not.toEqual(schedule.window(0));
  });
  test("without shuffle: windows of 8,192 in file order", () => {
    const plain = make({ shuffle: false, epochs: 1 });
    const order = range(plain.totalSteps).flatMap((step) => plain.window(step).flat());
    expect(ascending(order.slice(0, 8192))).toEqual(range(8192));
    expect(order[0]).toBe(0);
    expect(plain.window(0)[0]!.every((i) => i < 8192)).toBe(true);
  });
  test("a long run over few bins is laid out at once", () => {
    const few = createSchedule({
      tasks: [{ name: "a" }],
      exampleTasks: [0, 0, 0],
      seed: 1,
      batchSize: 1,
      gradAccumulation: 1,
      maxSteps: 1e9,
      shuffle: true,
      bins: { lengths: [5, 5, 5], maxLength: 10 },
    });
    expect([few.stepsPerEpoch, few.window(1e9 - 1).flat().length + few.window(1e9 - 2).flat().length]).toEqual([2, 3]);
  });
  test.each([
    ["no length", { maxLength: 0, lengths }],
    ["too few lengths", { maxLength: 8, lengths: [1] }],
  ])("%s is refused", (_, bins) => {
    expect(() => make({ bins })).toThrow(expect.objectContaining({ code: "SCHEDULE_INVALID" }));
  });
});
