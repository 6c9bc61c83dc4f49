import { describe, expect, test } from "vitest";
import { rangeRate, RateRange, type RateSuggestion } from "./rate-range.ts";

const RANGE = { from: 1e-6, to: 1, steps: 121 };

/** A test whose change is a function of log10(rate); batches differ in difficulty by several nats. */
function tested(changeAt: (log: number) => number, range = RANGE): { ended: boolean; last: number } & RateSuggestion {
  const curve = new RateRange();
  let ended = false;
  for (let step = 1; step < range.steps && !ended; step++) {
    const rate = rangeRate(range, step - 1);
    const startLoss = 5 + 3 * Math.sin(step * 1.7);
    ended = curve.add({ step, rate, loss: startLoss + changeAt(Math.log10(rate)), startLoss });
  }
  return { ended, last: curve.points.at(-1)!.rate, ...curve.suggestion(ended) };
}
/** Falls from 1e-4 to 1e-2, where it is −1, and rises steeply after. */
const usual = (log: number): number => (log < -4 ? 0 : log < -2 ? -(log + 4) / 2 : -1 + (log + 2) * 3);

test("rates are a geometric row between the two ends", () => {
  expect(rangeRate(RANGE, 0)).toBe(1e-6);
  expect(rangeRate(RANGE, 60)).toBeCloseTo(1e-3, 12);
  expect(rangeRate(RANGE, 120)).toBeCloseTo(1, 12);
});

describe("what a curve says", () => {
  test("a tenth of the rate of the lowest loss, however hard the batches were", () => {
    const { suggested, lowest, steepest, ended, last, reason } = tested(usual);
    expect(lowest!.rate).toBeGreaterThan(1e-2);
    expect(lowest!.rate).toBeLessThan(4e-2); // the average lags
    expect(suggested).toBe(Number((lowest!.rate / 10).toPrecision(2)));
    expect(steepest!.rate).toBeGreaterThan(1e-4);
    expect(steepest!.rate).toBeLessThan(lowest!.rate);
    expect(ended).toBe(true);
    expect(last).toBeLessThan(1);
    expect(reason).toMatch(/a tenth of 0\.0/);
  });
  test.each<[string, (log: number) => number, RegExp]>([
    ["flat", () => 0, /no rate changed the loss/],
    ["still falling at the end", (log) => Math.min(0, -(log + 4)), /still fell at the highest rate/],
    ["only rising", (log) => Math.max(0, (log + 3) * 2), /before it broke the model/],
  ])("%s: no suggestion", (_, changeAt, reason) => {
    expect(tested(changeAt)).toMatchObject({ suggested: null, reason: expect.stringMatching(reason) });
  });
  test("a small dip is noise: it neither ends the test nor counts", () => {
    const dip = (log: number): number => (log < -5.5 ? -0.04 : usual(log));
    expect(tested(dip).suggested).toBe(tested(usual).suggested);
  });
  test("no point at all", () => {
    expect(new RateRange().suggestion(true)).toMatchObject({ suggested: null, lowest: null });
  });
});
