// `npm test`: sets the clone up, which fails with the fix where there is no device, then runs vitest.
// `--long` adds the *.long.test.ts files; everything else is handed on (npm test -- packages/data).
import "./setup/check-node.mjs";
import { join } from "node:path";
import { driverEnvironment } from "./setup/driver-env.mjs";
import { execInstead } from "./setup/exec.mjs";
import { ROOT } from "./setup/paths.mjs";
import { failWith } from "./setup/report.mjs";
import { setUp } from "./setup/set-up.mjs";

const args = process.argv.slice(2);
await setUp().catch(failWith);
const tier = args.includes("--long") ? "long" : "quick";
const vitest = join(ROOT, "node_modules", "vitest", "vitest.mjs");
const environment = { ...process.env, ...driverEnvironment(), TUNESMITH_TEST_TIER: tier, TUNESMITH_SKIP_GATE: "1" };
execInstead(process.execPath, [vitest, "run", "--root", ROOT, ...args.filter((arg) => arg !== "--long")], environment);
