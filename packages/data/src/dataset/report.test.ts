import { expect, test } from "vitest";
import { checkLosses, type EntryReport, lossesOf } from "./report.ts";

const report = (extra: Partial<EntryReport>): EntryReport => ({
  path: "a.jsonl",
  rows: 100,
  examples: 100,
  tokens: 1000,
  targets: 500,
  rowsTooLong: 0,
  rowsWithoutTargets: 0,
  rowsTruncated: 0,
  tokensLost: 0,
  skipped: {},
  blank: 0,
  ...extra,
});

test("the larger share of rows and tokens counts, over all files", () => {
  const reports = [
    report({ rowsTooLong: 3, rowsWithoutTargets: 1, tokensLost: 20 }),
    report({ path: "b.jsonl", rows: 300, tokens: 3000, tokensLost: 180 }),
  ];
  expect(lossesOf(reports)).toEqual({ rows: 400, rowsLost: 4, tokens: 4000, tokensLost: 200, share: 0.05 });
  expect(checkLosses(reports)).toBeUndefined(); // 0.05 is still consent
  expect(lossesOf([])).toMatchObject({ share: 0 });
});
test("bad rows that were skipped are rows that were lost", () => {
  const skipped = { JSON_INVALID: { rows: 4, first: "a.jsonl:1" }, TEXT_INVALID: { rows: 2, first: "a.jsonl:9" } };
  expect(lossesOf([report({ rows: 94, skipped })])).toMatchObject({ rows: 100, rowsLost: 6, share: 0.06 });
  expect(() => checkLosses([report({ rows: 94, skipped })])).toThrow(
    expect.objectContaining({ code: "TOO_MUCH_LOST" }),
  );
});
test("more than max_lost is refused, naming the worst file", () => {
  const reports = [report({}), report({ path: "b.jsonl", rowsTooLong: 11 })];
  expect(() => checkLosses(reports)).toThrow(
    expect.objectContaining({
      code: "TOO_MUCH_LOST",
      message: expect.stringContaining("11 of 200 rows") as string,
      details: expect.objectContaining({ path: "b.jsonl" }) as object,
    }),
  );
  expect(checkLosses(reports, 0.06)).toBeUndefined();
  expect(() => checkLosses([report({ tokensLost: 51 })])).toThrow(expect.objectContaining({ code: "TOO_MUCH_LOST" }));
});
