import { expect, test } from "vitest";
import { expectStopsWithinAStep } from "./support/stopped-runs.ts";

test("a signal at a hundred moments in all phases ends the run within its step, and it goes on to the same bytes", async () => {
  const phases = await expectStopsWithinAStep(100);
  console.log(phases);
  expect(Object.keys(phases).toSorted()).toEqual(["compiling", "evaluating", "in a step", "preparing", "saving"]);
}, 600_000);
