import { afterAll, beforeAll, expect, test } from "vitest";
import { HOSTILE_CLASSES, hostileTemplate } from "../../test/hostile.ts";
import { bundleChild } from "../../test/hostile-run.ts";

let child: Awaited<ReturnType<typeof bundleChild>>;
beforeAll(async () => {
  child = await bundleChild();
});
afterAll(() => child.remove());

// a child per template costs 0.1 s of start-up: three thousand take some minutes
test.each(HOSTILE_CLASSES)("250 hostile templates: %s", { timeout: 1_200_000 }, async (kind) => {
  for (let seed = 100; seed < 350; seed++) {
    const source = hostileTemplate(kind, seed);
    const verdict = await child.run(source);
    const what = `${kind} ${seed}: ${source.slice(0, 150)} → ${JSON.stringify(verdict)}`;
    expect(verdict.code, what).toMatch(/^TEMPLATE_(LIMIT|FAILED|INVALID)$/);
    expect(Math.min(verdict.wall, verdict.cpu), what).toBeLessThan(250);
    expect(verdict.grown, what).toBeLessThan(64 * 2 ** 20);
  }
});
