import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { mutants } from "./list.mjs";

const root = new URL("../../", import.meta.url);

// the faults themselves are planted by `npm run test:mutants`; a fault whose text has gone would test nothing
test.each(mutants.map((m) => [m.name, m] as const))(
  "%s: its text stands once in its file",
  (_, { file, find, replace }) => {
    expect(readFileSync(new URL(file, root), "utf8").split(find)).toHaveLength(2);
    expect(replace).not.toBe(find);
  },
);

test("names are unique and every mutant has tests to see it", () => {
  expect(new Set(mutants.map((m) => m.name)).size).toBe(mutants.length);
  for (const { tests } of mutants) {
    expect(tests.length).toBeGreaterThan(0);
    for (const path of tests) expect(existsSync(new URL(path, root))).toBe(true);
  }
});
