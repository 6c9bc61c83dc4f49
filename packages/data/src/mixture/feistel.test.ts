import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { permute } from "./feistel.ts";

const images = (n: number, key: { seed: number; site: number; index: number }): number[] =>
  Array.from({ length: n }, (_, i) => permute(i, n, key));
const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

describe("permute", () => {
  test("is a bijection of 0 … n−1 for every n and key", () => {
    const key = fc.record({ seed: fc.maxSafeNat(), site: fc.nat(2 ** 32 - 1), index: fc.nat(2 ** 32 - 1) });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 600 }), key, (n, k) => {
        expect(sorted(images(n, k))).toEqual(Array.from({ length: n }, (_, i) => i));
      }),
      { numRuns: 60 },
    );
  });

  test("seed, its high half, site and index each give another order", () => {
    const key = { seed: 1, site: 2, index: 3 };
    const others = [
      { ...key, seed: 2 },
      { ...key, seed: 1 + 2 ** 32 },
      { ...key, site: 3 },
      { ...key, index: 4 },
    ];
    for (const other of others) expect(images(50, other)).not.toEqual(images(50, key));
    expect(images(50, { ...key })).toEqual(images(50, key));
  });

  // 3 and 5 need cycle-walking, 4 and 16 fill their domain; chi-square per start, limit ≈ 1 in 10⁶ for 4 … 15 freedoms
  test.each([
    [3, 35],
    [4, 38],
    [5, 40],
    [16, 62],
  ])("every image of %i items is equally likely over keys", (n, limit) => {
    const runs = 4000;
    const counts = Array.from({ length: n }, () => Array.from({ length: n }, () => 0));
    for (let index = 0; index < runs; index++)
      images(n, { seed: 7, site: 1, index }).forEach((v, i) => counts[i]![v]!++);
    for (const row of counts) {
      const chi2 = row.reduce((sum, count) => sum + (count - runs / n) ** 2 / (runs / n), 0);
      expect(chi2).toBeLessThan(limit);
    }
  });

  test("reaches large sets without a table", () => {
    const n = 2 ** 32;
    const values = [0, 1, n - 1].map((i) => permute(i, n, { seed: 5, site: 0, index: 0 }));
    expect(new Set(values).size).toBe(3);
    for (const value of values) expect(value >= 0 && value < n && Number.isInteger(value)).toBe(true);
  });

  // pinned: a resumed run must draw what the first one would have drawn, also after an update
  test("never changes", () => {
    expect(images(10, { seed: 0, site: 0, index: 0 })).toEqual([9, 5, 0, 3, 1, 7, 8, 6, 2, 4]);
  });
});
