import { defineConfig } from "vitest/config";

// Tests import the sources through the export condition "@tunesmith/source": no build is needed.
const conditions = ["@tunesmith/source", "node"];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: [
      "packages/*/src/**/*.test.ts",
      "apps/*/src/**/*.test.ts",
      "tests/**/*.test.ts",
      "scripts/**/*.test.ts",
    ],
    pool: "forks",
    isolate: false, // test files of one worker share a device and its compiled pipelines
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
