import { describe, expect, test } from "vitest";
import { memoryFiles } from "../../test/memory-files.ts";
import { expandPaths } from "./paths.ts";

const files = memoryFiles({
  "data/b.jsonl": "",
  "data/a.jsonl": "",
  "data/B.jsonl": "",
  "data/ä.jsonl": "",
  "data/.hidden.jsonl": "",
  "data/_note.md": "",
  "data/sub/c.csv": "",
  "data/sub/deep/d.parquet": "",
  "data/x[1].jsonl": "",
  "mixed/a.jsonl": "",
  "mixed/README.md": "",
  "empty/.keep": "",
});

describe("expandPaths", () => {
  test.each<[string | string[], string[]]>([
    ["data/a.jsonl", ["data/a.jsonl"]],
    ["missing.jsonl", ["missing.jsonl"]], // opening it says what is wrong
    [
      "data",
      ["B.jsonl", "a.jsonl", "b.jsonl", "sub/c.csv", "sub/deep/d.parquet", "x[1].jsonl", "ä.jsonl"].map(
        (n) => `data/${n}`,
      ),
    ],
    ["data/*.jsonl", ["B.jsonl", "a.jsonl", "b.jsonl", "x[1].jsonl", "ä.jsonl"].map((n) => `data/${n}`)],
    ["data/?.jsonl", ["B.jsonl", "a.jsonl", "b.jsonl", "ä.jsonl"].map((n) => `data/${n}`)],
    ["data/[a-b].jsonl", ["data/a.jsonl", "data/b.jsonl"]],
    ["data/[!a-z].jsonl", ["data/B.jsonl", "data/ä.jsonl"]],
    ["data/x[1].jsonl", ["data/x[1].jsonl"]], // exists: no pattern
    ["d*/s?b/*", ["data/sub/c.csv"]],
    [
      "data/**",
      ["B.jsonl", "_note.md", "a.jsonl", "b.jsonl", "sub/c.csv", "sub/deep/d.parquet", "x[1].jsonl", "ä.jsonl"].map(
        (n) => `data/${n}`,
      ),
    ],
    ["data/**/*.parquet", ["data/sub/deep/d.parquet"]],
    ["**/a.jsonl", ["data/a.jsonl", "mixed/a.jsonl"]],
    [
      ["data/b.jsonl", "mixed/*.jsonl", "data/sub"],
      ["data/b.jsonl", "mixed/a.jsonl", "data/sub/c.csv", "data/sub/deep/d.parquet"],
    ],
  ])("%j", async (path, expected) => {
    expect(await expandPaths(files, path)).toEqual(expected);
  });
  test.each<[string | string[], string]>([
    ["data/*.xyz", "PATH_UNMATCHED"],
    ["nowhere/*.jsonl", "PATH_UNMATCHED"],
    ["empty", "PATH_UNMATCHED"],
    [["data/a.jsonl", "data/[a].jsonl"], "PATH_UNMATCHED"],
    ["mixed", "FILE_FORMAT_UNKNOWN"],
  ])("%j: %s", async (path, code) => {
    await expect(expandPaths(files, path)).rejects.toMatchObject({ code });
  });
});
