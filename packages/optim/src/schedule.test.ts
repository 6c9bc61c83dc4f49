import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { learningRate, warmupSteps } from "./schedule.ts";
import type { Schedule } from "./schedule.ts";

interface Table {
  readonly args: Record<string, any>;
  readonly lr: readonly number[];
}
const golden: { base_lr: number; tables: Record<string, Table> } = JSON.parse(
  readFileSync(new URL("../../../fixtures/goldens/optim/schedules.json", import.meta.url), "utf8"),
);
const lr = golden.base_lr;
const run = { lr, warmupSteps: 5, totalSteps: 40 };

describe("learningRate equals Hugging Face's table", () => {
  const cases: [string, Schedule][] = [
    ["constant", { ...run, name: "constant", warmupSteps: 0 }],
    ["constant_with_warmup", { ...run, name: "constant" }],
    ["linear", { ...run, name: "linear" }],
    ["linear_no_warmup", { ...run, name: "linear", warmupSteps: 0 }],
    ["cosine", { ...run, name: "cosine" }],
    ["cosine_no_warmup", { ...run, name: "cosine", warmupSteps: 0 }],
    ["cosine_with_min_lr", { ...run, name: "cosine-with-min", minLr: 1e-4 }],
    ["cosine_with_restarts_3", { ...run, name: "cosine-restarts", cycles: 3 }],
    ["polynomial_power2", { ...run, name: "polynomial", power: 2, endLr: 1e-7 }],
    ["wsd_cosine", { ...run, name: "wsd", decaySteps: 10, decay: "cosine", minRatio: 0 }],
    ["wsd_linear_min10", { ...run, name: "wsd", decaySteps: 10, decay: "linear", minRatio: 0.1 }],
    ["wsd_1-sqrt", { ...run, name: "wsd", decaySteps: 10, decay: "1-sqrt", minRatio: 0 }],
  ];
  test.each(cases)("%s", (table, schedule) => {
    const expected = golden.tables[table]!.lr;
    expect(expected).toHaveLength(46); // six steps past the end
    for (const [step, rate] of expected.entries())
      expect(Math.abs(learningRate(schedule, step) - rate)).toBeLessThanOrEqual(1e-12 * lr);
  });
});

test("warm-up steps are rounded up, and the first of them has rate 0", () => {
  expect(warmupSteps(0.03, 100)).toBe(3);
  expect(warmupSteps(0.03, 101)).toBe(4);
  expect(warmupSteps(0, 100)).toBe(0);
  expect(learningRate({ ...run, name: "cosine", warmupSteps: 1 }, 0)).toBe(0);
  expect(learningRate({ ...run, name: "cosine", warmupSteps: 1 }, 1)).toBe(lr);
});
