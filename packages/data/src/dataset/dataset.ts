// Files to examples: the whole road of the data up to the point where batches are chosen.

import type { Files } from "@tunesmith/core";
import { type ChatTemplates, loadChatTemplates } from "../chat-template/load.ts";
import { DataError } from "../errors.ts";
import { detectFormat, type Format, formatByName, readRow } from "../formats/formats.ts";
import { readJsonl } from "../readers/jsonl.ts";
import { countTargets, type Example } from "../tokenize/example.ts";
import type { Overlong, TokenizedRow } from "../tokenize/fit.ts";
import { tokenizeRow, type TrainOn } from "../tokenize/tokenize-row.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { EntryReport } from "./report.ts";
import { type EntryTasks, resolveTasks, type Task, type TaskSettings } from "./tasks.ts";

/** One file of a dataset; what it leaves out comes from {@link DatasetOptions}. */
export interface DataEntry extends TaskSettings {
  readonly path: string;
  /** a format's name, or `auto`: told by the columns of the first row */
  readonly format?: string | undefined;
  /** task of rows without a `task` column; default: the file's name without its extension */
  readonly name?: string | undefined;
  /** read only the first rows */
  readonly maxRows?: number | undefined;
  readonly trainOn?: TrainOn | undefined;
  /** `auto` or the path of a template */
  readonly chatTemplate?: string | undefined;
  readonly overlong?: Overlong | undefined;
  readonly maxLength?: number | undefined;
}

export interface DatasetOptions {
  readonly files: Files;
  readonly tokenizer: Tokenizer;
  /** model folder, where `chatTemplate: "auto"` looks */
  readonly folder: string;
  readonly entries: readonly DataEntry[];
  /** `data.tasks` */
  readonly tasks?: Readonly<Record<string, TaskSettings>> | undefined;
  readonly chatTemplate: string;
  readonly trainOn: TrainOn;
  readonly overlong: Overlong;
  /** tokens per example */
  readonly maxLength: number;
  readonly appendEos: boolean;
  /** the model's vocabulary size; ids must be below it */
  readonly vocabSize: number;
  /** for templates that print the date; read through its UTC fields */
  readonly now: Date;
}

/** Examples in file order, their tasks, and what was lost on the way. */
export interface Dataset {
  readonly examples: readonly Example[];
  readonly tasks: readonly Task[];
  /** one per entry; hand them to `checkLosses` */
  readonly reports: readonly EntryReport[];
  /** the template of the run, to be saved beside the adapter; undefined where the model has none */
  readonly templates: ChatTemplates | undefined;
}

/** Rows that are tokenized at the same time: the native library works in other threads. */
const IN_FLIGHT = 64;

/**
 * Reads, renders and tokenizes every row of every entry.
 *
 * @throws InputError or DataError with path and line on the first bad row; DataError `TASK_EMPTY` if a file gives no
 *   example at all
 */
export async function loadDataset(options: DatasetOptions): Promise<Dataset> {
  const templates = new Map<string, ChatTemplates | undefined>();
  const templatesOf = async (spec: string): Promise<ChatTemplates | undefined> => {
    if (!templates.has(spec))
      templates.set(spec, await loadChatTemplates(options.files, { folder: options.folder, spec }));
    return templates.get(spec);
  };
  const runTemplates = await templatesOf(options.chatTemplate);
  const examples: Example[] = [];
  const reports: EntryReport[] = [];
  const entryTasks: EntryTasks[] = [];
  let row = 0;
  for (const entry of options.entries) {
    const rows = loadEntry(entry, options, await templatesOf(entry.chatTemplate ?? options.chatTemplate));
    const tasks = new Set<string>();
    const count = {
      rows: 0,
      examples: 0,
      tokens: 0,
      targets: 0,
      rowsTooLong: 0,
      rowsWithoutTargets: 0,
      rowsTruncated: 0,
      tokensLost: 0,
    };
    for await (const { tokenized, task } of rows) {
      for (const piece of tokenized.pieces) {
        examples.push({ ...piece, task, row });
        count.examples++;
        count.targets += countTargets(piece);
        tasks.add(task);
      }
      row++;
      count.rows++;
      count.tokens += tokenized.tokens;
      count.tokensLost += tokenized.lostTokens;
      if (tokenized.lost === "too_long") count.rowsTooLong++;
      if (tokenized.lost === "no_targets") count.rowsWithoutTargets++;
      if (tokenized.lost === "end") count.rowsTruncated++;
    }
    if (count.examples === 0) {
      throw new DataError("TASK_EMPTY", `${entry.path}: no row can be trained on`, {
        path: entry.path,
        expected: "at least one row with a target",
        received: `${count.rows} rows, ${count.rowsTooLong} too long, ${count.rowsWithoutTargets} without a target`,
        fix:
          count.rows === 0
            ? "the file is empty: remove it from the config"
            : "raise max_length or check train_on and the rows",
      });
    }
    reports.push({ path: entry.path, ...count });
    const { lossWeight, samplingWeight, maxEpochs } = entry;
    entryTasks.push({ path: entry.path, settings: { lossWeight, samplingWeight, maxEpochs }, tasks });
  }
  return { examples, tasks: resolveTasks(entryTasks, options.tasks), reports, templates: runTemplates };
}

async function* loadEntry(
  entry: DataEntry,
  options: DatasetOptions,
  templates: ChatTemplates | undefined,
): AsyncGenerator<{ tokenized: TokenizedRow; task: string }, void, undefined> {
  const named = formatByName(entry.format ?? "auto");
  let format: Format | undefined = named === "auto" ? undefined : named;
  const fallbackTask = entry.name ?? stem(entry.path);
  const rowOptions = {
    tokenizer: options.tokenizer,
    templates,
    trainOn: entry.trainOn ?? options.trainOn,
    maxLength: entry.maxLength ?? options.maxLength,
    overlong: entry.overlong ?? options.overlong,
    appendEos: options.appendEos,
    vocabSize: options.vocabSize,
    now: options.now,
  };
  const pending: Promise<{ tokenized: TokenizedRow; task: string }>[] = [];
  let rows = 0;
  for await (const line of readJsonl(options.files, entry.path)) {
    if (rows++ >= (entry.maxRows ?? Infinity)) break;
    format ??= detectFormat(line.row, line);
    const row = readRow(format, line.row, line);
    const result = tokenizeRow(row, line, rowOptions).then((tokenized) => ({
      tokenized,
      task: row.task ?? fallbackTask,
    }));
    result.catch(() => {}); // reported in order, when its turn comes
    pending.push(result);
    if (pending.length >= IN_FLIGHT) yield await pending.shift()!;
  }
  for (const result of pending) yield await result;
}

/** File name without folder and extension. */
function stem(path: string): string {
  const name = path.split(/[/\\]/).at(-1)!;
  return name.replace(/(?<=.)\.[^.]*$/, "");
}
