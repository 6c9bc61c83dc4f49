import { expect, test } from "vitest";
import { expectStopsWithinAStep } from "./support/stopped-runs.ts";

test("a signal at two moments of every phase ends the run within its step, and it goes on to the same bytes", async () => {
  const phases = await expectStopsWithinAStep(10);
  expect(phases).toEqual({ preparing: 2, compiling: 2, "in a step": 2, evaluating: 2, saving: 2 });
});
