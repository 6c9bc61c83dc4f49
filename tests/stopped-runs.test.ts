import { expect, test } from "vitest";
import { expectStopsWithinAStep } from "./support/stopped-runs.ts";

test("a signal at the start of any phase and at five moments ends the run within its step, and it goes on to the same bytes", async () => {
  const phases = await expectStopsWithinAStep(5);
  expect(Object.values(phases).reduce((a, b) => a + b)).toBe(10);
});
