import { configDefaults, defineConfig } from "vitest/config";
import { driverEnvironment } from "./scripts/setup/driver-env.mjs";
import { skipGate } from "./scripts/test/skip-gate.ts";
import { mutantPlugin } from "./tests/mutants/plugin.ts";

// Workers are forked from this process and inherit the driver that set-up found.
Object.assign(process.env, driverEnvironment());

// Tests import the sources through the export condition "@tunesmith/source": no build is needed.
const conditions = ["@tunesmith/source", "node"];
const tier = process.env["TUNESMITH_TEST_TIER"];
/** The only tests that need Python: `npm run test:interop`. */
const INTEROP = "tests/interop/*.test.ts";
const gated = process.env["TUNESMITH_SKIP_GATE"] === "1";

export default defineConfig({
  plugins: mutantPlugin(process.env["TUNESMITH_MUTANT"]),
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include:
      tier === "interop"
        ? [INTEROP]
        : [
            "packages/*/src/**/*.test.ts",
            "apps/*/src/**/*.test.ts",
            "tests/**/*.test.ts",
            "scripts/**/*.test.ts",
            "examples/*/src/**/*.test.ts",
          ],
    exclude: [
      ...configDefaults.exclude,
      ...(tier === "long" ? [] : ["**/*.long.test.ts"]),
      ...(tier === "interop" ? [] : [INTEROP]),
    ],
    // the gate comes first: what it says stands above the summary
    reporters: [...(gated ? [skipGate()] : []), "default"],
    pool: "forks",
    isolate: false, // the test files of one worker share a device and its compiled pipelines
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
