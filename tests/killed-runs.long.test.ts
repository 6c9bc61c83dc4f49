import { expect, test } from "vitest";
import { expectKilledRunsToGoOn } from "./support/killed-runs.ts";

/** `npm run test:crash` sets it to 500 */
const KILLS = Number(process.env["TUNESMITH_KILLS"] ?? 100);

test.skipIf(process.platform === "win32")(
  `${KILLS} runs of the program, killed at random times, go on to the same bytes`,
  async () => {
    const where = await expectKilledRunsToGoOn(KILLS);
    console.log(where);
    expect(Object.values(where).reduce((a, b) => a + b)).toBe(KILLS);
  },
  KILLS * 120_000,
);
