// A skipped test proves nothing, so the number of skips is committed and may only fall: above it the run fails.
// It differs with the optional fixture folder beside the clone, whose tests skip where it is absent.

import { existsSync, readFileSync } from "node:fs";
import type { Reporter, TestModule, Vitest } from "vitest/node";

interface Allowed {
  readonly with_shared_fixtures: number;
  readonly without_shared_fixtures: number;
}

const allowed = JSON.parse(readFileSync(new URL("skips.json", import.meta.url), "utf8")) as Allowed;
const SHARED = new URL("../../../shared/fixtures", import.meta.url);

/** Fails the run when more tests were skipped than `skips.json` allows. Off when tests are picked by name. */
export function skipGate(): Reporter {
  let filtered = false;
  return {
    onInit(vitest: Vitest): void {
      filtered = vitest.config.testNamePattern !== undefined;
    },
    onTestRunEnd(modules: readonly TestModule[]): void {
      if (filtered) return;
      const skipped = modules.flatMap((module) =>
        [...module.children.allTests("skipped")].map((test) => `${module.relativeModuleId} > ${test.fullName}`),
      );
      const limit = existsSync(SHARED) ? allowed.with_shared_fixtures : allowed.without_shared_fixtures;
      if (skipped.length <= limit) return;
      process.stdout.write(
        `\n${skipped.length} tests were skipped, scripts/test/skips.json allows ${limit}:\n${skipped.map((name) => `  ${name}\n`).join("")}`,
      );
      process.exitCode = 1;
    },
  };
}
