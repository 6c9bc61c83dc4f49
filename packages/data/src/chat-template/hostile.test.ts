import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HOSTILE_CLASSES, type HostileClass, hostileTemplate } from "../../test/hostile.ts";
import { bundleChild, type Verdict } from "../../test/hostile-run.ts";

/** The promise: a typed error, at most 250 ms of one core, at most 64 MiB more memory. */
const MILLISECONDS = 250;
const BYTES = 64 * 2 ** 20;

/** A look-up that finds nothing is an error of its own, and so is a source that ends in the middle; all else meets a limit. */
function allowed(kind: HostileClass): string[] {
  if (kind === "escapes") return ["TEMPLATE_LIMIT", "TEMPLATE_FAILED", "TEMPLATE_INVALID"];
  return kind === "long_source" || kind === "deep_nesting"
    ? ["TEMPLATE_LIMIT", "TEMPLATE_INVALID"]
    : ["TEMPLATE_LIMIT"];
}

let child: Awaited<ReturnType<typeof bundleChild>>;
beforeAll(async () => {
  child = await bundleChild();
});
afterAll(() => child.remove());

/** 100 templates: eight or nine of each class. */
const cases = Array.from({ length: 100 }, (_, i) => ({
  kind: HOSTILE_CLASSES[i % HOSTILE_CLASSES.length]!,
  seed: Math.floor(i / HOSTILE_CLASSES.length),
}));

describe("hostile templates, each in a process of its own", () => {
  test.each(HOSTILE_CLASSES)("%s", async (kind) => {
    for (const { seed } of cases.filter((entry) => entry.kind === kind)) {
      const source = hostileTemplate(kind, seed);
      const verdict: Verdict = await child.run(source);
      const what = `${kind} ${seed}: ${source.slice(0, 150)} → ${JSON.stringify(verdict)}`;
      expect(allowed(kind), what).toContain(verdict.code);
      // other work on the machine stretches wall time, helper threads of the engine stretch CPU time
      expect(Math.min(verdict.wall, verdict.cpu), what).toBeLessThan(MILLISECONDS);
      expect(verdict.grown, what).toBeLessThan(BYTES);
    }
  });
});
