import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nodeFiles } from "@tunesmith/node";
import { expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";
import { loadConfig } from "../config/load.ts";
import { loadRunData } from "../run-data.ts";

const lines = (count: number, text: string): string =>
  Array.from({ length: count }, (_, i) =>
    JSON.stringify({ prompt: `${text} ${i}`, completion: "y".repeat(1 + (i % 5)) }),
  ).join("\n");
const CONFIG = `model: model
output: run
data:
  cache: prepared
  train: [{path: rows/*.jsonl}, {path: more.csv}]
  eval: [{path: e.jsonl}]
`;
const folder = (): string =>
  folderWith({
    ...modelFolder("model"),
    "run.yaml": CONFIG,
    "rows/a.jsonl": lines(5000, "a"), // two shards
    "rows/b.jsonl": lines(3, "b"),
    "rows/empty.jsonl": "",
    "more.csv": 'prompt,completion\n"p, ""q""",yes\n',
    "e.jsonl": lines(2, "e"),
  });

test("parts prepare what a run reads, with the same result as without a cache", async () => {
  const cwd = folder();
  const inspect = async (...flags: string[]) =>
    (await runCli(["inspect", "run.yaml", "--rows", "9", "--json", ...flags], { cwd })).document();
  /** What training and evaluation get, bit by bit. */
  const runData = async (...sets: string[]): Promise<string> => {
    const loaded = await loadConfig("run.yaml", { cwd, sets });
    const { train, evaluation, schedule, reports } = await loadRunData(loaded, {
      files: nodeFiles(),
      now: new Date(0),
    });
    return JSON.stringify([train, evaluation, schedule.window(3), reports], (_, value: unknown) =>
      ArrayBuffer.isView(value) ? String(value as Int32Array) : value,
    );
  };
  const without = await inspect("--set", "data.cache=null");
  const plain = await runData("data.cache=null");
  const documents = [];
  for (const part of ["2/2", "1/2"]) {
    const result = await runCli(["data", "prepare", "run.yaml", "--shard", part, "--json"], { cwd });
    expect(result.exitCode).toBe(0);
    documents.push(
      result.document() as unknown as {
        complete: boolean;
        files: { path: string; rows: number; shards: number; written: number }[];
      },
    );
  }
  expect(documents.map(({ complete }) => complete)).toEqual([false, true]);
  const names = ["rows/a.jsonl", "rows/b.jsonl", "rows/empty.jsonl", "more.csv", "e.jsonl"];
  expect(documents[1]!.files.map(({ path, rows, shards }) => [path, rows, shards])).toEqual(
    names.map((name, i) => [join(cwd, name), [5000, 3, 0, 1, 2][i], [2, 1, 0, 1, 1][i]]),
  );
  const written = documents.map(({ files }) => files.reduce((sum, file) => sum + file.written, 0));
  expect(written[0]! + written[1]!).toBe(5);
  expect(Math.min(...written)).toBeGreaterThan(0);

  const before = readdirSync(join(cwd, "prepared"), { recursive: true }).length;
  expect(await inspect()).toEqual(without);
  expect(await runData()).toBe(plain);
  expect(readdirSync(join(cwd, "prepared"), { recursive: true })).toHaveLength(before);
  const again = await runCli(["data", "prepare", "run.yaml"], { cwd });
  expect(again.stdout).toContain("is complete");
  expect(again.stdout).toContain("0 of 2 shards written now");
});

test("a run is told of files without rows and of rows that were skipped", async () => {
  const cwd = folder();
  writeFileSync(
    join(cwd, "rows/b.jsonl"),
    `${lines(100, "b")}\n{"prompt": "p"}\n${lines(100, "c")}\n{"prompt": "p", "completion": 2}\n`,
  );
  const result = await runCli(["inspect", "run.yaml", "--set", "data.on_bad_row=skip", "--json"], { cwd });
  expect(result.document()).toMatchObject({
    warnings: expect.arrayContaining([
      `files without rows: ${join(cwd, "rows/empty.jsonl")}`,
      expect.stringMatching(/b\.jsonl: 1 bad rows skipped \(COLUMN_MISSING\), the first: .*b\.jsonl:101: /) as string,
      expect.stringMatching(/b\.jsonl: 1 bad rows skipped \(VALUE_INVALID\), the first: .*b\.jsonl:202: /) as string,
    ]) as string[],
    mask_report: { files: [{}, { rows: 200, rows_skipped: { COLUMN_MISSING: { rows: 1 } } }, { rows: 0 }, {}] },
  });
  const strict = await runCli(["inspect", "run.yaml", "--json"], { cwd });
  expect(strict.document().error).toMatchObject({ code: "COLUMN_MISSING", line: 101 });
});

test.each([
  [["data", "prepare", "run.yaml", "--set", "data.cache=null"], "CONFIG_KEY_MISSING"],
  [["data", "prepare", "run.yaml", "--shard", "3/2"], "FLAG_INVALID"],
  [["data", "prepare", "run.yaml", "--shard", "0/2"], "FLAG_INVALID"],
  [["data", "prepare", "run.yaml", "--shard", "x"], "FLAG_INVALID"],
  [["data", "prepare"], "FLAG_MISSING"],
  [["data", "prepair", "run.yaml"], "FLAG_INVALID"],
])("%j: %s", async (argv, code) => {
  const result = await runCli([...argv, "--json"], { cwd: folder() });
  expect([result.exitCode, result.document().error.code]).toEqual([2, code]);
});
