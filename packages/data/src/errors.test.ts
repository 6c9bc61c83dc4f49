import { gzipSync } from "node:zlib";
import { isTunesmithError, type JsonObject, parseStrictJson } from "@tunesmith/core";
import { describe, expect, test } from "vitest";
import { charTokenizer } from "../test/char-tokenizer.ts";
import { memoryFiles } from "../test/memory-files.ts";
import {
  checkContamination,
  checkLosses,
  compileTemplate,
  createRowReader,
  createSchedule,
  DataError,
  type DataErrorCode,
  expandPaths,
  formatByName,
  loadChatTemplates,
  makeBatch,
  type Message,
  openPrepared,
  readRow,
  readRows,
  readTokenizerFolder,
  resolveTasks,
  type Row,
  splitExamples,
  targetScale,
  tokenizeRow,
  type TokenizeOptions,
} from "./index.ts";

const at = { path: "d.jsonl", line: 1 };
const json = (text: string): JsonObject => parseStrictJson(text) as JsonObject;
const tokenize = (row: Row, extra: Partial<TokenizeOptions> = {}): Promise<unknown> =>
  tokenizeRow(row, at, {
    tokenizer: charTokenizer({ addBos: true }),
    trainOn: "assistant",
    maxLength: 8,
    overlong: "error",
    appendEos: true,
    vocabSize: 2 ** 21,
    now: new Date(0),
    ...extra,
  });
const chat = (source: string, ...messages: Message[]): Promise<unknown> =>
  tokenize(
    { kind: "conversation", messages },
    { templates: { default: compileTemplate(source, "t") }, trainOn: "completion" },
  );
const drain = async (content: string | Uint8Array, path = "f.jsonl", options = {}): Promise<void> => {
  for await (const _ of readRows(memoryFiles({ [path]: content }), path, options));
};
const answer: Message = { role: "assistant", content: "a" };
const schedule = {
  exampleTasks: [0],
  tasks: [{ name: "a" }],
  seed: 0,
  batchSize: 1,
  gradAccumulation: 1,
  epochs: 1,
  shuffle: true,
};

// the type closes the table: a new code without a way to provoke it does not compile
const example = {
  inputIds: Int32Array.of(1, 2),
  targets: Int32Array.of(2, -100),
  targetWeights: Float32Array.of(1, 0),
  task: "a",
  row: 0,
};
const provoke: Record<DataErrorCode, () => unknown> = {
  PATH_UNMATCHED: () => expandPaths(memoryFiles({}), "*.jsonl"),
  FILE_FORMAT_UNKNOWN: () => drain("", "f.xyz"),
  GZIP_INVALID: () => drain("{}", "f.jsonl.gz"),
  GZIP_BOMB: () => drain(gzipSync(new Uint8Array(2 ** 27)), "f.csv.gz"),
  CSV_INVALID: () => drain("a,b\n1\n", "f.csv"),
  PREPARED_INVALID: () => openPrepared(memoryFiles({}), "cache/key", "key"),
  PARQUET_INVALID: () => drain("PAR1PAR1PAR1", "f.parquet"),
  FORMAT_UNKNOWN: () => formatByName("csv"),
  FORMAT_UNSUPPORTED: () => tokenize({ kind: "preference", chosen: "a", rejected: "b" }),
  MAP_INVALID: () => createRowReader({ map: { text: "{{" } }),
  COLUMN_UNKNOWN: () => readRow("text", json('{"text": "", "txt": ""}'), at),
  COLUMN_MISSING: () => readRow("text", json("{}"), at),
  VALUE_INVALID: () => readRow("text", json('{"text": 5}'), at),
  ROLE_UNKNOWN: () => readRow("messages", json('{"messages": [{"role": "bot", "content": ""}]}'), at),
  LINE_TOO_LONG: () => drain("xxxx", "f.jsonl", { maxRowBytes: 3 }),
  TEXT_INVALID: () => readRow("text", json('{"text": "\\udc00"}'), at),
  TOKENIZER_INVALID: () => readTokenizerFolder(memoryFiles({ "m/tokenizer.json": "", "m/config.json": "5" }), "m"),
  EOS_MISSING: () => tokenize({ kind: "text", text: "a" }, { tokenizer: charTokenizer({ eos: [] }) }),
  TEMPLATE_MISSING: () => loadChatTemplates(memoryFiles({}), { folder: "m", spec: "chatml.jinja" }),
  TEMPLATE_INVALID: () => compileTemplate("{{", "t"),
  TEMPLATE_FAILED: () => chat("{{ raise_exception('no') }}", { role: "user", content: "u" }, answer),
  TEMPLATE_UNSTABLE: () =>
    chat("{{ messages|length }}", { role: "user", content: "u" }, answer, { role: "user", content: "v" }),
  TEMPLATE_LIMIT: () => chat("{{ 'x' * 10000000 }}", { role: "user", content: "u" }, answer),
  TRAIN_ON_INVALID: () => chat("x", answer, answer),
  DOUBLE_BOS: () => tokenize({ kind: "text", text: "<s>" }),
  TOKEN_OUT_OF_RANGE: () => tokenize({ kind: "text", text: "a" }, { vocabSize: 5 }),
  ROW_TOO_LONG: () => tokenize({ kind: "completion", prompt: "12345678", completion: "9" }),
  TOO_MUCH_LOST: () =>
    checkLosses([
      {
        path: "f",
        rows: 1,
        examples: 0,
        tokens: 1,
        targets: 0,
        rowsTooLong: 1,
        rowsWithoutTargets: 0,
        rowsTruncated: 0,
        tokensLost: 1,
        skipped: {},
        blank: 0,
      },
    ]),
  NO_TARGETS: () => targetScale([makeBatch([], { packing: true, tasks: ["a"] })], "task_mean", [1]),
  TASK_EMPTY: () => createSchedule({ ...schedule, tasks: [{ name: "a" }, { name: "b" }] }),
  TASK_CONFLICT: () =>
    resolveTasks([{ path: "f", settings: { lossWeight: 1 }, tasks: ["a"] }], { a: { lossWeight: 2 } }),
  MIXTURE_INVALID: () => createSchedule({ ...schedule, tasks: [{ name: "a", samplingWeight: 1 }] }),
  SCHEDULE_INVALID: () => createSchedule({ ...schedule, epochs: 0 }),
  SCHEDULE_EXHAUSTED: () => createSchedule({ ...schedule, epochs: 2, tasks: [{ name: "a", maxEpochs: 1 }] }),
  CONTAMINATED: () => checkContamination([example], [example], "error"),
  SPLIT_INVALID: () => splitExamples([], { evalSplit: 2, seed: 0 }),
};

describe("every code of DataError", () => {
  test.each(Object.entries(provoke))("%s", async (code, run) => {
    const error: unknown = await Promise.resolve()
      .then(run)
      .then(
        () => undefined,
        (caught: unknown) => caught,
      );
    expect(error).toBeInstanceOf(DataError);
    expect(isTunesmithError(error)).toBe(true);
    expect((error as DataError).toJSON()).toMatchObject({ code, message: expect.stringMatching(/\S/) as string });
    // what was received, what was expected or what to do: at least one of the three beside the message
    const { expected, received, fix } = (error as DataError).details;
    expect(expected ?? received ?? fix).toMatch(/\S/);
  });
});
