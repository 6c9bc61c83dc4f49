import { describe, expect, test } from "vitest";
import { philox4x32, uniform, uniformInt } from "./index.ts";

const hex = (words: readonly number[]): string => words.map((word) => word.toString(16).padStart(8, "0")).join(" ");
const words = (text: string): number[] => text.split(" ").map((word) => parseInt(word, 16));

describe("philox4x32-10", () => {
  // Random123 1.14, tests/kat_vectors
  test.each([
    ["00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
    ["ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"],
    ["243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"],
  ])("known answer for counter %s", (counter, key, expected) => {
    expect(hex(philox4x32(words(counter) as never, words(key) as never))).toBe(expected);
  });

  test("agrees with 64-bit integer arithmetic on counters with every bit position set", () => {
    const mask = 0xffffffffn;
    const reference = (counter: number[], key: number[]): number[] => {
      let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
      let [k0, k1] = key.map(BigInt) as [bigint, bigint];
      for (let round = 0; round < 10; round++) {
        const a = 0xd2511f53n * c0;
        const b = 0xcd9e8d57n * c2;
        [c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, b & mask, (a >> 32n) ^ c3 ^ k1, a & mask];
        [k0, k1] = [(k0 + 0x9e3779b9n) & mask, (k1 + 0xbb67ae85n) & mask];
      }
      return [c0, c1, c2, c3].map(Number);
    };
    for (let bit = 0; bit < 192; bit++) {
      const input = [0, 0, 0, 0, 0, 0];
      input[bit >> 5] = (1 << (bit & 31)) >>> 0;
      const counter = input.slice(0, 4);
      const key = input.slice(4);
      expect(philox4x32(counter as never, key as never)).toEqual(reference(counter, key));
    }
  });
});

describe("uniform", () => {
  test("is built from the first two words: 53 bits, (index, index >> 32, site, step) under the seed", () => {
    const [high, low] = philox4x32([7, 0, 11, 13], [5, 0]);
    expect(uniform(5, 11, 13, 7)).toBe((Math.floor(high / 32) * 2 ** 26 + Math.floor(low / 64)) / 2 ** 53);
    const [high2, low2] = philox4x32([1, 3, 11, 13], [2, 4]);
    const big = uniform(4 * 2 ** 32 + 2, 11, 13, 3 * 2 ** 32 + 1);
    expect(big).toBe((Math.floor(high2 / 32) * 2 ** 26 + Math.floor(low2 / 64)) / 2 ** 53);
  });

  test("each argument counts, and swapping them is not the same", () => {
    const values = [
      uniform(1, 2, 3, 4),
      uniform(9, 2, 3, 4),
      uniform(1, 9, 3, 4),
      uniform(1, 2, 9, 4),
      uniform(1, 2, 3, 9),
      uniform(1, 3, 2, 4),
      uniform(1, 2, 4, 3),
      uniform(2, 1, 3, 4),
    ];
    expect(new Set(values).size).toBe(values.length);
  });

  test("stays in [0, 1), fills it evenly, and neighbours are unrelated", () => {
    const n = 100_000;
    const counts = Array.from({ length: 20 }, () => 0);
    let products = 0;
    let previous = 0.5;
    for (let i = 0; i < n; i++) {
      const u = uniform(42, 7, 0, i);
      if (!(u >= 0 && u < 1)) throw new Error(`uniform gave ${u}`);
      counts[Math.floor(u * 20)]!++;
      products += (u - 0.5) * (previous - 0.5);
      previous = u;
    }
    // χ² with 19 degrees of freedom lies below 43.8 with probability 0.999; the draw is fixed
    const expected = n / 20;
    expect(counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)).toBeLessThan(43.8);
    expect(Math.abs(products / n)).toBeLessThan(4 / 12 / Math.sqrt(n));
  });
});

describe("uniformInt", () => {
  test("reaches both ends of its range and nothing outside", () => {
    const seen = new Set(Array.from({ length: 200 }, (_, i) => uniformInt(3, 1, 2, 3, i)));
    expect([...seen].sort()).toEqual([0, 1, 2]);
    expect(uniformInt(1, 1, 2, 3, 4)).toBe(0);
  });

  test("large ranges use all 53 bits", () => {
    const n = Number.MAX_SAFE_INTEGER;
    const values = Array.from({ length: 64 }, (_, i) => uniformInt(n, 1, 2, 3, i));
    for (const value of values) expect(Number.isSafeInteger(value) && value >= 0 && value < n).toBe(true);
    expect(values.some((value) => value % 2 === 1) && values.some((value) => value % 2 === 0)).toBe(true);
    expect(Math.max(...values)).toBeGreaterThan(n * 0.9);
  });
});
