import { expect, test } from "vitest";
import { strftime } from "./strftime.ts";

// expected: Python 3.11, datetime(2025, 7, 5, 14, 3, 9, 45000).strftime(...)
const now = new Date("2025-07-05T14:03:09.045Z");
test.each([
  ["%d %b %Y", "05 Jul 2025"],
  ["%Y-%m-%d", "2025-07-05"],
  ["%B %-d, %Y", "July 5, 2025"],
  ["%A %a %j %y %w", "Saturday Sat 186 25 6"],
  ["%H:%M:%S %I %p", "14:03:09 02 PM"],
  ["%-I:%M|%e|%f|%F|%T|100%%", "2:03| 5|045000|2025-07-05|14:03:09|100%"],
])("%s", (format, expected) => expect(strftime(now, format)).toBe(expected));

test("midnight is 12 AM", () => expect(strftime(new Date("2024-12-31T00:00:00Z"), "%I %p %j")).toBe("12 AM 366"));
test("an unknown directive is an error", () => {
  expect(() => strftime(now, "%Q")).toThrow(/%Q/);
  expect(() => strftime(now, "100%")).toThrow(/%/);
});
