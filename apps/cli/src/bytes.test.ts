import { expect, test } from "vitest";
import { bytesText, parseBytes } from "./bytes.ts";

test.each([
  ["8GiB", 8 * 2 ** 30],
  ["8 GB", 8e9],
  ["1.5mib", 1.5 * 2 ** 20],
  ["512k", 512e3],
  ["12000000", 12e6],
  ["7b", 7],
  ["GiB", undefined],
  ["8 gigabytes", undefined],
  ["-1GB", undefined],
  ["", undefined],
])("%s", (text, bytes) => expect(parseBytes(text)).toBe(bytes));

test("three digits", () => {
  expect([950, 1234, 45_678_000, 678_900_000, 2_345_000_000].map(bytesText)).toEqual([
    "950 bytes",
    "1.23 kB",
    "45.7 MB",
    "679 MB",
    "2.35 GB",
  ]);
});
