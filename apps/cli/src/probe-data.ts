// The rows of `probe`: sets are read as eval rows are, counterfactual pairs from files of {prompt?, a, b, task?}.

import type { Files, JsonObject, JsonValue } from "@tunesmith/core";
import {
  type ChatTemplates,
  DataError,
  type Example,
  expandPaths,
  placeDetails,
  placeText,
  readRow,
  readRows,
  type Row,
  type RowAt,
  type TokenizeOptions,
  tokenizeRow,
} from "@tunesmith/data";
import type { CounterfactualPair } from "@tunesmith/sft";

export interface PairsEntry {
  readonly path: string | readonly string[];
  /** name of the set; default: the file's stem */
  readonly name?: string | undefined;
}

export type PairOptions = Pick<TokenizeOptions, "tokenizer" | "maxLength" | "vocabSize" | "now"> & {
  readonly templates: ChatTemplates | undefined;
};

const COLUMNS = ["prompt", "a", "b", "task"];

/**
 * Reads counterfactual pairs. What is compared is `a` with `b` behind the same prompt, without an EOS after them.
 * @throws DataError for the first row that is no pair
 */
export async function readPairs(
  files: Files,
  entries: readonly PairsEntry[],
  options: PairOptions,
): Promise<CounterfactualPair[]> {
  const pairs: CounterfactualPair[] = [];
  for (const { path, name } of entries)
    for (const file of await expandPaths(files, path))
      for await (const { row, at } of readRows(files, file)) {
        const set = textOf(row, "task", at, name ?? stem(file));
        checkColumns(row, at);
        const side = async (column: "a" | "b"): Promise<Example> => ({
          ...(await tokenizeSide(row, column, at, options)),
          task: set,
          row: pairs.length,
        });
        const pair = { set, a: await side("a"), b: await side("b") };
        if (textOf(row, "a", at) === textOf(row, "b", at)) fail(at, "`a` and `b` are the same text");
        pairs.push(pair);
      }
  return pairs;
}

async function tokenizeSide(
  row: JsonObject,
  column: "a" | "b",
  at: RowAt,
  { templates, ...options }: PairOptions,
): Promise<Omit<Example, "task" | "row">> {
  const { pieces } = await tokenizeRow(sideOf(row, column, at), at, {
    ...options,
    templates,
    trainOn: "completion",
    overlong: "error",
    appendEos: false,
  });
  const [piece] = pieces;
  if (piece === undefined) fail(at, `\`${column}\` holds no token that a model can be asked for`);
  return piece;
}

/** One side as a row of prompt and completion: two texts, or messages that a template renders. */
function sideOf(row: JsonObject, column: "a" | "b", at: RowAt): Row {
  const text = textOf(row, column, at);
  const prompt: JsonValue = row.get("prompt") ?? "";
  const completion: JsonValue = Array.isArray(prompt)
    ? [
        new Map([
          ["role", "assistant"],
          ["content", text],
        ]),
      ]
    : text;
  return readRow(
    "prompt_completion",
    new Map<string, JsonValue>([
      ["prompt", prompt],
      ["completion", completion],
    ]),
    at,
  );
}

function textOf(row: JsonObject, column: string, at: RowAt, otherwise?: string): string {
  const value = row.get(column) ?? otherwise;
  if (typeof value === "string" && value !== "") return value;
  return fail(at, value === undefined ? `the pair has no \`${column}\`` : `\`${column}\` is no text`);
}

function checkColumns(row: JsonObject, at: RowAt): void {
  const unknown = [...row.keys()].find((key) => !COLUMNS.includes(key));
  if (unknown !== undefined) fail(at, `a pair has no column ${JSON.stringify(unknown)}`, "COLUMN_UNKNOWN");
}

function fail(at: RowAt, message: string, code: "VALUE_INVALID" | "COLUMN_UNKNOWN" = "VALUE_INVALID"): never {
  throw new DataError(code, `${placeText(at)}: ${message}`, {
    ...placeDetails(at),
    expected: "{prompt?, a, b, task?}, where a and b are different texts",
    fix: "correct this row",
  });
}

function stem(path: string): string {
  const name = path.split(/[/\\]/).at(-1)!;
  return name.replace(/(?<=.)\.gz$/i, "").replace(/(?<=.)\.[^.]*$/, "");
}
