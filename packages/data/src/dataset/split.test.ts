import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Example } from "../tokenize/example.ts";
import { checkSplitSources, splitExamples } from "./split.ts";

/** One example per row; `blocks` more of row 0. */
function examples(sizes: Readonly<Record<string, number>>, blocks = 0): Example[] {
  let row = 0;
  const arrays = { targets: new Int32Array(1), targetWeights: new Float32Array(1) };
  const out = Object.entries(sizes).flatMap(([task, size]) =>
    Array.from({ length: size }, () => ({ ...arrays, inputIds: Int32Array.of(row), task, row: row++ })),
  );
  return [...Array.from({ length: blocks }, () => ({ ...out[0]! })), ...out];
}
const count = (part: readonly Example[], task: string): number =>
  part.filter((example) => example.task === task).length;

describe("splitExamples", () => {
  test("per task, at least one row, the nearest whole number else", () => {
    const split = splitExamples(examples({ big: 100, small: 3 }), { evalSplit: 0.05, testSplit: 0.1, seed: 1 });
    expect([count(split.eval, "big"), count(split.test, "big"), count(split.train, "big")]).toEqual([5, 10, 85]);
    expect([count(split.eval, "small"), count(split.test, "small"), count(split.train, "small")]).toEqual([1, 1, 1]);
  });
  test("every example lands in one part, in file order; the same seed gives the same parts, another one others", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 4, max: 60 }),
        fc.maxSafeNat(),
        fc.double({ min: 0.01, max: 0.4, noNaN: true }),
        (n, seed, share) => {
          const all = examples({ a: n, b: 5 });
          const split = splitExamples(all, { evalSplit: share, testSplit: 0.1, seed });
          const rows = (part: readonly Example[]): number[] => part.map((example) => example.row);
          expect([...rows(split.train), ...rows(split.eval), ...rows(split.test)].sort((x, y) => x - y)).toEqual(
            rows(all),
          );
          for (const part of Object.values(split) as Example[][])
            expect(rows(part)).toEqual(rows(part).sort((x, y) => x - y));
          expect(splitExamples(all, { evalSplit: share, testSplit: 0.1, seed })).toEqual(split);
        },
      ),
      { numRuns: 40 },
    );
    const rows = (seed: number): number[] =>
      splitExamples(examples({ a: 50 }), { evalSplit: 0.2, seed }).eval.map((e) => e.row);
    expect(rows(1)).not.toEqual(rows(2));
  });
  test("blocks of one text stay together", () => {
    for (const seed of [1, 2, 3, 4]) {
      const split = splitExamples(examples({ a: 3 }, 5), { evalSplit: 0.3, seed });
      expect(
        new Set(Object.values(split).flatMap((part: Example[]) => (part.some((e) => e.row === 0) ? [part] : []))).size,
      ).toBe(1);
    }
  });
  test("duplicates never straddle, whatever their task, and shares hold in whole groups", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(30), fc.nat(1)), { minLength: 8, maxLength: 80 }),
        fc.nat(),
        (rows, seed) => {
          const all = rows.map(([text, task], row): Example => ({
            inputIds: Int32Array.of(text, 7),
            targets: Int32Array.of(7, -100),
            targetWeights: Float32Array.of(1, 0),
            task: `t${task}`,
            row,
          }));
          let split;
          try {
            split = splitExamples(all, { evalSplit: 0.2, testSplit: 0.2, seed });
          } catch (error) {
            expect(error).toMatchObject({ code: "SPLIT_INVALID" }); // all rows of a task may be one text
            return;
          }
          const texts = (part: readonly Example[]): Set<number> => new Set(part.map(({ inputIds }) => inputIds[0]!));
          const [train, evaluation, test] = [texts(split.train), texts(split.eval), texts(split.test)];
          expect([...evaluation, ...test].filter((text) => train.has(text))).toEqual([]);
          expect([...evaluation].filter((text) => test.has(text))).toEqual([]);
          expect(split.train.length + split.eval.length + split.test.length).toBe(all.length);
        },
      ),
      { numRuns: 200 },
    );
  });
  test("groups that are named stay together as duplicates do", () => {
    const alike = [
      [0, 1, 2],
      [2, 3],
    ];
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      const split = splitExamples(examples({ a: 10 }), { evalSplit: 0.4, seed, alike });
      const held = split.eval.filter(({ row }) => row < 4).length;
      expect([held === 0 || held === 4, split.eval.length]).toEqual([true, 4]);
    }
  });
  test("a group larger than the share is held back where there is nothing smaller", () => {
    const pairs = [0, 0, 1, 1, 2, 2].map((text, row) => ({
      ...examples({ a: 1 })[0]!,
      inputIds: Int32Array.of(text),
      row,
    }));
    expect(splitExamples(pairs, { evalSplit: 0.1, seed: 3 })).toMatchObject({
      train: { length: 4 },
      eval: { length: 2 },
    });
    expect(() => splitExamples(pairs.slice(0, 2), { evalSplit: 0.1, seed: 3 })).toThrow(
      expect.objectContaining({ code: "SPLIT_INVALID" }),
    );
  });
  test("no split asked for: all is training", () => {
    expect(splitExamples(examples({ a: 1 }), { seed: 1 })).toMatchObject({ train: { length: 1 }, eval: [], test: [] });
  });
  test.each([
    ["a share of 0", { evalSplit: 0 }],
    ["a share of 1", { testSplit: 1 }],
    ["a share that is no number", { evalSplit: NaN }],
    ["a task of one row", { evalSplit: 0.5 }],
  ])("%s is refused", (_, shares) => {
    expect(() => splitExamples(examples({ a: 10, b: 1 }), { ...shares, seed: 1 })).toThrow(
      expect.objectContaining({ code: "SPLIT_INVALID" }),
    );
  });
});

test("named files and a split for one purpose contradict each other", () => {
  const none = { evalFiles: false, evalSplit: undefined, testFiles: false, testSplit: undefined };
  for (const fine of [none, { ...none, evalFiles: true, testSplit: 0.1 }, { ...none, evalSplit: 0.1 }])
    expect(checkSplitSources(fine)).toBeUndefined();
  for (const bad of [
    { ...none, evalFiles: true, evalSplit: 0.1 },
    { ...none, testFiles: true, testSplit: 0.1 },
  ]) {
    expect(() => checkSplitSources(bad)).toThrow(expect.objectContaining({ code: "SPLIT_INVALID" }));
  }
});
