// `npm run test:crash [-- KILLS]`: so many runs of the program (500), killed at random times, must go on to the bytes of one that
// nobody killed.
import "./setup/check-node.mjs";
import { join } from "node:path";
import { driverEnvironment } from "./setup/driver-env.mjs";
import { execInstead } from "./setup/exec.mjs";
import { ROOT } from "./setup/paths.mjs";
import { failWith } from "./setup/report.mjs";
import { setUp } from "./setup/set-up.mjs";

await setUp().catch(failWith);
const environment = {
  ...process.env,
  ...driverEnvironment(),
  TUNESMITH_TEST_TIER: "long",
  TUNESMITH_KILLS: process.argv[2] ?? "500",
};
const vitest = join(ROOT, "node_modules", "vitest", "vitest.mjs");
const only = ["tests/killed-runs.long.test.ts", "-t", "SIGKILL"];
execInstead(process.execPath, [vitest, "run", "--root", ROOT, ...only], environment);
