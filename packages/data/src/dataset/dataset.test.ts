import { describe, expect, test } from "vitest";
import { charTokenizer } from "../../test/char-tokenizer.ts";
import { memoryFiles } from "../../test/memory-files.ts";
import { type DataEntry, type Dataset, type DatasetOptions, loadDataset } from "./dataset.ts";
import { tokenizeBatch, type TokenizeBatch } from "./tokenize-batch.ts";

const TEMPLATE = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}";
const contents = {
  "data/a.jsonl": '{"prompt": "p", "completion": "one"}\n{"prompt": "p", "completion": "two", "task": "other"}\n',
  "b.train.jsonl":
    '{"messages": [{"role": "assistant", "content": "hey"}]}\n{"messages": [{"role": "user", "content": "unanswered"}]}\n',
  "many.jsonl": Array.from({ length: 300 }, (_, i) =>
    JSON.stringify({ prompt: `${i}:`, completion: "x".repeat(i % 7) + "." }),
  ).join("\n"),
  "text.jsonl": '{"text": "abcdefghij"}\n{"text": "xy"}\n',
  "empty.jsonl": "\n\n",
  "none.jsonl": "",
  "mixed.jsonl":
    '{"prompt": "p", "completion": "c"}\n\nnot json\n{"prompt": 1, "completion": "c"}\n{"prompt": "p", "completion": "d"}\n7\n',
  "pairs.csv": "prompt,completion\np,one\nq,two\n",
  "bad.jsonl": '{"prompt": "p", "completion": "c"}\n{"prompt": "p", "completion": "c", "extra": 1}\n',
  "m/chat_template.jinja": TEMPLATE,
};
const load = (entries: DataEntry[], extra: Partial<DatasetOptions> = {}): Promise<Dataset> =>
  loadDataset({
    files: memoryFiles(contents),
    tokenizer: charTokenizer(),
    folder: "m",
    entries,
    chatTemplate: "auto",
    trainOn: "assistant",
    overlong: "error",
    maxLength: 100,
    appendEos: true,
    vocabSize: 2 ** 21,
    now: new Date(0),
    ...extra,
  });

describe("loadDataset", () => {
  test("a row's task: its column, else the entry's name, else the file's stem", async () => {
    const tasks = async (entry: DataEntry): Promise<string[]> =>
      (await load([entry])).examples.map((example) => example.task);
    expect(await tasks({ path: "data/a.jsonl" })).toEqual(["a", "other"]);
    expect(await tasks({ path: "data/a.jsonl", name: "math" })).toEqual(["math", "other"]);
    expect(await tasks({ path: "b.train.jsonl" })).toEqual(["b.train"]);
  });
  test("rows keep their order and number, whatever finishes first", async () => {
    const tokenizer = charTokenizer();
    let turn = 0;
    const slow = {
      ...tokenizer,
      encode: async (text: string, options: { addSpecialTokens: boolean }) => {
        await new Promise((done) => setTimeout(done, (turn++ * 7) % 5));
        return tokenizer.encode(text, options);
      },
    };
    const { examples, reports } = await load([{ path: "many.jsonl" }], { tokenizer: slow });
    expect(examples.map((example) => example.row)).toEqual(Array.from({ length: 300 }, (_, i) => i));
    for (const [i, example] of examples.entries()) {
      expect(await tokenizer.decode(example.inputIds, { skipSpecialTokens: true })).toBe(`${i}:${"x".repeat(i % 7)}.`);
    }
    expect(reports[0]).toMatchObject({ rows: 300, examples: 300 });
  });
  test("reports count what was lost", async () => {
    const { reports } = await load([
      { path: "b.train.jsonl" },
      { path: "text.jsonl", maxLength: 10 },
      { path: "data/a.jsonl", maxLength: 4, overlong: "truncate" },
    ]);
    expect(reports).toEqual([
      {
        path: "b.train.jsonl",
        rows: 2,
        examples: 1,
        tokens: 13,
        targets: 2,
        rowsTooLong: 0,
        rowsWithoutTargets: 1,
        rowsTruncated: 0,
        tokensLost: 10,
        skipped: {},
        blank: 0,
      },
      {
        path: "text.jsonl",
        rows: 2,
        examples: 2,
        tokens: 14,
        targets: 11,
        rowsTooLong: 0,
        rowsWithoutTargets: 0,
        rowsTruncated: 1,
        tokensLost: 1,
        skipped: {},
        blank: 0,
      },
      {
        path: "data/a.jsonl",
        rows: 2,
        examples: 2,
        tokens: 10,
        targets: 6,
        rowsTooLong: 0,
        rowsWithoutTargets: 0,
        rowsTruncated: 2,
        tokensLost: 2,
        skipped: {},
        blank: 0,
      },
    ]);
  });
  test("an entry overrides the run; max_rows takes the first; settings reach the tasks", async () => {
    const { examples, tasks, templates } = await load(
      [{ path: "data/a.jsonl", trainOn: "all", maxRows: 1, lossWeight: 2, maxEpochs: 3 }],
      { tasks: { a: { samplingWeight: 1 } } },
    );
    expect(examples.length).toBe(1);
    expect(examples[0]!.targets.filter((target) => target >= 0).length).toBe(4);
    expect(tasks).toEqual([{ name: "a", lossWeight: 2, maxEpochs: 3, samplingWeight: 1 }]);
    expect(templates?.default.source).toBe(TEMPLATE);
  });
  test("a list or a pattern is one entry: each file has its own format, task and report; empty ones are reported", async () => {
    const { examples, reports } = await load([{ path: ["pairs.csv", "none.jsonl", "data/*.jsonl", "b.train.jsonl"] }]);
    expect(examples.map(({ task, row }) => [task, row])).toEqual([
      ["pairs", 0],
      ["pairs", 1],
      ["a", 2],
      ["other", 3],
      ["b.train", 4],
    ]);
    expect(reports.map(({ path, rows }) => [path, rows])).toEqual([
      ["pairs.csv", 2],
      ["none.jsonl", 0],
      ["data/a.jsonl", 2],
      ["b.train.jsonl", 2],
    ]);
  });
  test("max_rows counts over all files of an entry", async () => {
    const { reports } = await load([{ path: ["pairs.csv", "data/a.jsonl", "many.jsonl"], maxRows: 3 }]);
    expect(reports.map(({ rows }) => rows)).toEqual([2, 1, 0]);
  });
  test("on_bad_row: skip counts bad rows by reason; rows keep the number they have in the file", async () => {
    const { examples, reports } = await load([{ path: "mixed.jsonl", onBadRow: "skip" }]);
    expect(examples.map(({ row }) => row)).toEqual([0, 3]);
    expect(reports).toMatchObject([
      {
        rows: 2,
        blank: 1,
        skipped: {
          JSON_INVALID: { rows: 1, first: expect.stringContaining("mixed.jsonl:3") as string },
          VALUE_INVALID: { rows: 2, first: expect.stringContaining("mixed.jsonl:4") as string },
        },
      },
    ]);
    await expect(load([{ path: "mixed.jsonl" }])).rejects.toMatchObject({ code: "JSON_INVALID", details: { line: 3 } });
  });
  test("skip is no way around what every row would have: a template or a length that does not fit", async () => {
    await expect(load([{ path: "b.train.jsonl", onBadRow: "skip" }], { folder: "nowhere" })).rejects.toMatchObject({
      code: "TEMPLATE_MISSING",
    });
    await expect(load([{ path: "data/a.jsonl", maxLength: 2, onBadRow: "skip" }])).rejects.toMatchObject({
      code: "ROW_TOO_LONG",
    });
  });
  test("batches that are tokenized elsewhere come back in the order of the file", async () => {
    const lines = Array.from({ length: 2000 }, (_, i) => JSON.stringify({ prompt: `${i}:`, completion: "x" }));
    const files = memoryFiles({ "long.jsonl": lines.join("\n") });
    const tokenizer = charTokenizer();
    let most = 0;
    let now = 0;
    const tokenize: TokenizeBatch = async (batch, job) => {
      most = Math.max(most, ++now);
      await new Promise((done) => setTimeout(done, batch.length % 7));
      return tokenizeBatch(batch, job, { tokenizer, templates: undefined }).finally(() => now--);
    };
    const far = await load([{ path: "long.jsonl" }], { files, workers: { tokenize, parallel: 3 } });
    expect(far).toEqual(await load([{ path: "long.jsonl" }], { files }));
    expect(most).toBe(3);
  });
  test("blocks of a text share a row", async () => {
    expect((await load([{ path: "text.jsonl", maxLength: 4 }])).examples.map((example) => example.row)).toEqual([
      0, 0, 0, 1,
    ]);
  });
  test.each<[string, DataEntry[], string, RegExp]>([
    ["a file that is missing", [{ path: "nowhere.jsonl" }], "FILE_MISSING", /nowhere/],
    ["a file without rows", [{ path: "empty.jsonl" }], "TASK_EMPTY", /empty\.jsonl/],
    [
      "a file whose rows are all too long",
      [{ path: "data/a.jsonl", maxLength: 2, overlong: "drop" }],
      "TASK_EMPTY",
      /no row can be trained/,
    ],
    ["a bad row", [{ path: "bad.jsonl" }], "COLUMN_UNKNOWN", /bad\.jsonl:2/],
    [
      "a row of another format than the first",
      [{ path: "data/a.jsonl", format: "text" }],
      "COLUMN_UNKNOWN",
      /a\.jsonl:1/,
    ],
    ["an unknown format", [{ path: "data/a.jsonl", format: "jsonl" }], "FORMAT_UNKNOWN", /"jsonl"/],
    [
      "a template that is missing",
      [{ path: "data/a.jsonl", chatTemplate: "no.jinja" }],
      "TEMPLATE_MISSING",
      /no\.jinja/,
    ],
  ])("%s", async (_, entries, code, message) => {
    await expect(load(entries)).rejects.toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) as string }),
    );
  });
});
