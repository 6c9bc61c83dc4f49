import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { codePointStarts, spansInCodePoints } from "./offsets.ts";

describe("codePointStarts", () => {
  test("an emoji is two units, a combining mark is one, a lone surrogate is one", () => {
    expect([...codePointStarts("a😀e\u0301b")!]).toEqual([0, 1, 3, 4, 5, 6]);
    expect([...codePointStarts("\ud83e😀\udd8a")!]).toEqual([0, 1, 3, 4]);
    expect(codePointStarts("e\u0301 €")).toBeUndefined();
    expect(codePointStarts("")).toBeUndefined();
  });
  test("agrees with the string's own iterator", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const starts = codePointStarts(text) ?? Int32Array.from({ length: text.length + 1 }, (_, i) => i);
        const points = [...text];
        expect(starts.length).toBe(points.length + 1);
        points.forEach((point, i) => expect(text.slice(starts[i], starts[i + 1])).toBe(point));
      }),
    );
  });
});

test("spansInCodePoints turns UTF-16 spans into what Python counts", () => {
  const text = "🦊: é 🦊!";
  expect(
    spansInCodePoints(text, [
      [0, 2],
      [4, 5],
      [6, 9],
      [9, 9],
    ]),
  ).toEqual([
    [0, 1],
    [3, 4],
    [5, 7],
    [7, 7],
  ]);
  expect(spansInCodePoints("abc", [[1, 3]])).toEqual([[1, 3]]);
});
