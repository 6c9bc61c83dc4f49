import { expect, test } from "vitest";
import { expectKilledRunsToGoOn } from "./support/killed-runs.ts";

test.skipIf(process.platform === "win32")(
  "SIGKILL at random times: five runs of the program go on to the same bytes",
  async () => {
    const { where } = await expectKilledRunsToGoOn(5, "SIGKILL");
    expect(Object.values(where).reduce((a, b) => a + b)).toBe(5);
  },
  600_000,
);
