import { expect, test } from "vitest";
import { expectKilledRunsToGoOn } from "./support/killed-runs.ts";

/** `npm run test:crash` sets it to 500 */
const COUNT = Number(process.env["TUNESMITH_KILLS"] ?? 100);

test.skipIf(process.platform === "win32").each(["SIGKILL", "SIGINT"] as const)(
  `%s at random times: ${COUNT} runs of the program go on to the same bytes`,
  async (signal) => {
    const { where, latencies } = await expectKilledRunsToGoOn(COUNT, signal);
    console.log(signal, where, latencies);
    expect(Object.values(where).reduce((a, b) => a + b)).toBe(COUNT);
  },
  COUNT * 120_000,
);
