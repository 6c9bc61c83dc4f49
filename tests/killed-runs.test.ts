import { expect, test } from "vitest";
import { expectKilledRunsToGoOn } from "./support/killed-runs.ts";

test.skipIf(process.platform === "win32")(
  "five runs of the program, killed at random times, go on to the same bytes",
  async () => {
    const where = await expectKilledRunsToGoOn(5);
    expect(Object.values(where).reduce((a, b) => a + b)).toBe(5);
  },
);
