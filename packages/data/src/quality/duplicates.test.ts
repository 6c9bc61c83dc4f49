import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Example } from "../tokenize/example.ts";
import { contamination } from "./contamination.ts";
import { duplicateRows, nearDuplicateRows } from "./duplicates.ts";

const example = (inputIds: readonly number[], row: number, trainedFrom = 1): Example => ({
  inputIds: Int32Array.from(inputIds),
  targets: Int32Array.from(inputIds, (_, t) =>
    t + 1 < inputIds.length && t + 1 >= trainedFrom ? inputIds[t + 1]! : -100,
  ),
  targetWeights: new Float32Array(inputIds.length),
  task: "a",
  row,
});
const rows = (texts: readonly (readonly number[])[]): Example[] => texts.map((ids, row) => example(ids, row));
/** A text of its own for every seed. */
const text = (seed: number, length = 60): number[] =>
  Array.from({ length }, (_, i) => Math.imul((seed + 1) * 1000 + i, 2654435761) >>> 12);
const changed = (ids: readonly number[], ...places: number[]): number[] =>
  ids.map((id, i) => (places.includes(i) ? id + 1 : id));

describe("exact duplicates", () => {
  test("same tokens and same targets, in any place", () => {
    const texts = rows([text(1), text(2), text(1), text(3), text(1), text(2)]);
    expect(duplicateRows(texts)).toEqual([
      [0, 2, 4],
      [1, 5],
    ]);
  });
  test("another mask, a token more, or other borders of blocks is another row", () => {
    const ids = text(1);
    expect(duplicateRows([example(ids, 0), example(ids, 1, 5), example([...ids, 1], 2)])).toEqual([]);
    const blocks = [example([1, 2, 3, 4], 0), example([5, 6], 0), example([1, 2], 1), example([3, 4, 5, 6], 1)];
    expect(duplicateRows(blocks)).toEqual([]);
    expect(duplicateRows([...blocks.slice(0, 2), ...blocks.slice(0, 2).map((b) => ({ ...b, row: 1 }))])).toEqual([
      [0, 1],
    ]);
  });
  test("groups are what comparing every pair gives", () => {
    const any = fc.array(fc.array(fc.nat(2), { minLength: 1, maxLength: 3 }), { maxLength: 25 });
    fc.assert(
      fc.property(any, (texts) => {
        const byText = new Map<string, number[]>();
        texts.forEach((ids, row) => byText.set(ids.join(), [...(byText.get(ids.join()) ?? []), row]));
        const expected = [...byText.values()].filter((group) => group.length > 1);
        expect(duplicateRows(rows(texts)).toSorted((a, b) => a[0]! - b[0]!)).toEqual(expected);
      }),
    );
  });
});

describe("near duplicates", () => {
  test("a word changed is near, half the text is not", () => {
    const half = [...text(1).slice(0, 30), ...text(9).slice(0, 30)];
    // one token in 60 touches 5 of 56 runs: 51 of 61 distinct ones are shared, 0.84
    const texts = rows([text(1), text(2), changed(text(1), 20), half, text(3), text(4)]);
    expect(nearDuplicateRows(texts, 0.8)).toEqual([[0, 2]]);
    expect(nearDuplicateRows(texts, 0.9)).toEqual([]);
  });
  test("the Jaccard index of what is reported is at least the threshold, and what is far above it is found", () => {
    const runs = (ids: readonly number[]): Set<string> =>
      new Set(Array.from({ length: ids.length - 4 }, (_, i) => ids.slice(i, i + 5).join()));
    const jaccard = (a: readonly number[], b: readonly number[]): number => {
      const [x, y] = [runs(a), runs(b)];
      const both = [...x].filter((run) => y.has(run)).length;
      return both / (x.size + y.size - both);
    };
    fc.assert(
      fc.property(fc.nat(1000), fc.array(fc.nat(99), { maxLength: 8 }), (seed, places) => {
        const pair = [text(seed, 100), changed(text(seed, 100), ...places)] as const;
        const others = [1, 2, 3, 4].map((k) => text(seed + 5000 * k, 100));
        const found = nearDuplicateRows(rows([...pair, ...others]), 0.7).length === 1;
        const index = jaccard(...pair);
        expect(found ? index >= 0.7 : index < 0.9).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
  test("a long system prompt that all rows share makes none of them alike", () => {
    const system = text(77, 300);
    const texts = rows(Array.from({ length: 12 }, (_, i) => [...system, ...text(i, 20)]));
    expect(nearDuplicateRows(texts, 0.8)).toEqual([]);
    const twice = rows([
      ...Array.from({ length: 12 }, (_, i) => [...system, ...text(i, 20)]),
      [...system, ...text(3, 20), 5],
    ]);
    expect(nearDuplicateRows(twice, 0.8)).toEqual([[3, 12]]);
  });
  test("no rows, rows of one token, one text many times", () => {
    expect(nearDuplicateRows([], 0.8)).toEqual([]);
    expect(nearDuplicateRows(rows([[1], [2], [3]]), 0.8)).toEqual([]);
    expect(nearDuplicateRows(rows([text(1), text(2), text(1), text(3), text(4)]), 1)).toEqual([[0, 2]]);
  });
  test.each([0.4, 1.1, NaN])("the threshold %s is refused", (threshold) => {
    expect(() => nearDuplicateRows([], threshold)).toThrow(expect.objectContaining({ code: "VALUE_INVALID" }));
  });
});

describe("contamination of held-out rows", () => {
  const train = rows([text(1), text(2), [...text(50, 200), ...text(3), ...text(51, 200)], text(4), [8, 9]]);
  test("the same text, inside a longer one, and with little changed", () => {
    const held = rows([text(9), text(2), text(3), changed(text(4), 1), [8, 9], [8, 9, 10]]);
    expect(contamination(train, held)).toEqual([
      { heldRow: 1, trainRow: 1 },
      { heldRow: 2, trainRow: 2 },
      { heldRow: 3, trainRow: 3 },
      { heldRow: 4, trainRow: 4 },
    ]);
  });
  test("a shared beginning, or half the text, is no leak", () => {
    const half = [...text(1).slice(0, 30), ...text(10).slice(0, 30)];
    expect(contamination(train, rows([half, text(11), text(12)]))).toEqual([]);
    const system = text(77, 300);
    const chat = (seed: number): number[] => [...system, ...text(seed, 20)];
    expect(contamination(rows([1, 2, 3, 4].map(chat)), rows([5, 6].map(chat)))).toEqual([]);
    expect(contamination(rows([1, 2, 3, 4].map(chat)), rows([5, 2].map(chat)))).toEqual([{ heldRow: 1, trainRow: 1 }]);
  });
  test("nothing held, nothing trained", () => {
    expect([contamination(train, []), contamination([], train)]).toEqual([[], []]);
  });
});
