// The committed base is what its script makes: the first steps, run again, meet the stored losses.
import { openDevice } from "@tunesmith/node";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { trainBase } from "../examples/tiny-base/train.mjs";

const STEPS = 30;

test("the tiny base's training repeats its first steps", async () => {
  const stored = JSON.parse(readFileSync(new URL("../examples/tiny-base/training.json", import.meta.url), "utf8")) as {
    first_losses: number[];
  };
  const losses: number[] = [];
  for await (const event of trainBase(await openDevice(), STEPS)) if (event.type === "step") losses.push(event.loss);
  expect(losses).toHaveLength(STEPS);
  // another device sums in another order; after 30 steps that is still far below this
  for (const [i, loss] of losses.entries()) expect(Math.abs(loss - stored.first_losses[i]!)).toBeLessThan(2e-3);
});
