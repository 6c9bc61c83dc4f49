import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CYCLE, largestRemainder, mixturePhases } from "./quotas.ts";

describe("largestRemainder", () => {
  test("worked examples", () => {
    expect(largestRemainder([0.6, 0.4], 1000)).toEqual([600, 400]);
    expect(largestRemainder([1, 1, 1], 1000)).toEqual([334, 333, 333]); // a tie goes to the earlier task
    expect(largestRemainder([1, 2, 4], 10)).toEqual([1, 3, 6]); // 1.43, 2.86, 5.71: the two largest remainders gain
    expect(largestRemainder([5], 7)).toEqual([7]);
  });
  test("sums to the total and is never a slot away from the exact share", () => {
    const weights = fc.array(fc.double({ min: 1e-3, max: 1e3, noNaN: true }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(weights, fc.integer({ min: 1, max: 1000 }), (w, total) => {
        const quotas = largestRemainder(w, total);
        const sum = w.reduce((a, b) => a + b, 0);
        expect(quotas.reduce((a, b) => a + b, 0)).toBe(total);
        quotas.forEach((quota, k) => expect(Math.abs(quota - (w[k]! / sum) * total)).toBeLessThan(1));
      }),
    );
  });
});

describe("mixturePhases", () => {
  test("without caps there is one phase for ever", () => {
    expect(mixturePhases([{ draw: 0, weights: [3, 1] }], [Infinity, Infinity])).toEqual([
      { cycle: 0, cycles: Infinity, draw: 0, quotas: [750, 250], drawn: [0, 0] },
    ]);
  });
  test("a capped task gets what it has left, then leaves its slots to the others", () => {
    expect(mixturePhases([{ draw: 0, weights: [1, 1] }], [1200, Infinity])).toEqual([
      { cycle: 0, cycles: 2, draw: 0, quotas: [500, 500], drawn: [0, 0] },
      { cycle: 2, cycles: 1, draw: 2000, quotas: [200, 800], drawn: [1000, 1000] },
      { cycle: 3, cycles: Infinity, draw: 3000, quotas: [0, 1000], drawn: [1200, 1800] },
    ]);
  });
  test("caps are met exactly and phases join without a gap", () => {
    const task = fc.record({
      weight: fc.double({ min: 0.01, max: 100, noNaN: true }),
      cap: fc.integer({ min: 1, max: 9000 }),
    });
    fc.assert(
      fc.property(fc.array(task, { minLength: 1, maxLength: 8 }), (tasks) => {
        const phases = mixturePhases(
          [{ draw: 0, weights: tasks.map((t) => t.weight) }],
          tasks.map((t) => t.cap),
        );
        const drawn = tasks.map(() => 0);
        let draw = 0;
        let cycle = 0;
        for (const phase of phases) {
          const length = phase.quotas.reduce((a, b) => a + b, 0);
          expect(phase).toMatchObject({ draw, cycle, drawn });
          expect(length === CYCLE || phase === phases.at(-1)).toBe(true);
          phase.quotas.forEach((quota, k) => (drawn[k]! += quota * phase.cycles));
          draw += length * phase.cycles;
          cycle += phase.cycles;
        }
        expect(drawn).toEqual(tasks.map((t) => t.cap));
      }),
    );
  });
});
