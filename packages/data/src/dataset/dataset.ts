// Files to examples: the whole road of the data up to the point where batches are chosen.

import type { Files } from "@tunesmith/core";
import { type ChatTemplates, loadChatTemplates } from "../chat-template/load.ts";
import { DataError } from "../errors.ts";
import type { RowOptions } from "../formats/formats.ts";
import { expandPaths } from "../readers/paths.ts";
import type { ReadOptions } from "../readers/read-rows.ts";
import type { Example } from "../tokenize/example.ts";
import type { Overlong } from "../tokenize/fit.ts";
import type { TrainOn } from "../tokenize/tokenize-row.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { addCounts, examplesOf, NO_ROWS, rowsIn } from "./chunk.ts";
import { chunksOf, prepareOne, type PreparedReport } from "./data-file.ts";
import type { EntryReport } from "./report.ts";
import { type EntryTasks, resolveTasks, type Task, type TaskSettings } from "./tasks.ts";
import type { OnBadRow, TokenizeBatch } from "./tokenize-batch.ts";

/** Files of a dataset that are read alike; what it leaves out comes from {@link DatasetOptions}. */
export interface DataEntry extends TaskSettings, Pick<ReadOptions, "fileFormat" | "rowsKey" | "sampleBy"> {
  /** a file, a folder, a glob, or a list of these: see `expandPaths` */
  readonly path: string | readonly string[];
  /** a format's name, or `auto`: told by the columns of each file's first row */
  readonly format?: string | undefined;
  /** task of rows without a `task` column; default: the file's name without its extension */
  readonly name?: string | undefined;
  /** read only the first rows, over all files; bad ones count */
  readonly maxRows?: number | undefined;
  readonly trainOn?: TrainOn | undefined;
  /** `auto` or the path of a template */
  readonly chatTemplate?: string | undefined;
  readonly overlong?: Overlong | undefined;
  readonly maxLength?: number | undefined;
  readonly onBadRow?: OnBadRow | undefined;
  /** how columns are read; the seed comes from {@link DatasetOptions} */
  readonly rows?: Omit<RowOptions, "seed"> | undefined;
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
  /** draws among several wordings of a task; default 0 */
  readonly seed?: number | undefined;
  /** default `error` */
  readonly onBadRow?: OnBadRow | undefined;
  /** folder of prepared rows: read where they fit, else filled. The tokenizer needs a fingerprint */
  readonly cache?: string | undefined;
  /** tokenizes batches elsewhere, several at a time; default: here, one after the other */
  readonly workers?: { readonly tokenize: TokenizeBatch; readonly parallel: number } | undefined;
}

/** Examples in file order, their tasks, and what was lost on the way. */
export interface Dataset {
  readonly examples: readonly Example[];
  readonly tasks: readonly Task[];
  /** one per file, empty ones too; hand them to `checkLosses` */
  readonly reports: readonly EntryReport[];
  /** the template of the run, to be saved beside the adapter; undefined where the model has none */
  readonly templates: ChatTemplates | undefined;
}

/**
 * Reads, renders and tokenizes every row of every entry.
 *
 * @throws InputError or DataError with path and line on the first bad row; DataError `TASK_EMPTY` if an entry gives no
 *   example at all
 */
export async function loadDataset(options: DatasetOptions): Promise<Dataset> {
  const templatesOf = templateLoader(options);
  const runTemplates = await templatesOf(options.chatTemplate);
  const examples: Example[] = [];
  const reports: EntryReport[] = [];
  const entryTasks: EntryTasks[] = [];
  let row = 0;
  for (const entry of options.entries) {
    const own = await templatesOf(entry.chatTemplate ?? options.chatTemplate);
    const tasks = new Set<string>();
    let counts = NO_ROWS;
    let left = entry.maxRows ?? Infinity;
    for (const path of await expandPaths(options.files, entry.path)) {
      const fileTask = entry.name ?? stem(path);
      let ofFile = NO_ROWS;
      let blank = 0;
      const file = { path, entry, templates: own, limit: left };
      for await (const chunk of chunksOf(file, options, (lines) => (blank = lines))) {
        for (const example of examplesOf(chunk, { fileTask, firstRow: row })) {
          examples.push(example);
          tasks.add(example.task);
        }
        row += rowsIn(chunk);
        left -= rowsIn(chunk);
        ofFile = addCounts(ofFile, chunk.counts);
      }
      reports.push({ path, blank, ...ofFile });
      counts = addCounts(counts, ofFile);
    }
    const path = typeof entry.path === "string" ? entry.path : entry.path.join(", ");
    if (counts.examples === 0) {
      const skipped = Object.values(counts.skipped).reduce((sum, { rows }) => sum + rows, 0);
      throw new DataError("TASK_EMPTY", `${path}: no row can be trained on`, {
        path,
        expected: "at least one row with a target",
        received: `${counts.rows} rows, ${counts.rowsTooLong} too long, ${counts.rowsWithoutTargets} without a target, ${skipped} bad`,
        fix:
          counts.rows + skipped === 0
            ? "there are no rows: remove the entry from the config"
            : "raise max_length or check train_on and the rows",
      });
    }
    const { lossWeight, samplingWeight, maxEpochs } = entry;
    entryTasks.push({ path, settings: { lossWeight, samplingWeight, maxEpochs }, tasks });
  }
  return { examples, tasks: resolveTasks(entryTasks, options.tasks), reports, templates: runTemplates };
}

/**
 * Fills the cache for {@link loadDataset}, or a part of it: several processes, each with its own `part`, fill it together.
 *
 * @param part - `index` from 0 of `of` parts; shards are dealt out in turn
 * @returns one report per file
 * @throws what loadDataset throws for the rows of this part; shards that were written stay
 */
export async function prepareDataset(
  options: DatasetOptions & { readonly cache: string },
  part: { readonly index: number; readonly of: number } = { index: 0, of: 1 },
): Promise<PreparedReport[]> {
  const templatesOf = templateLoader(options);
  const reports: PreparedReport[] = [];
  for (const entry of options.entries) {
    const templates = await templatesOf(entry.chatTemplate ?? options.chatTemplate);
    let left = entry.maxRows ?? Infinity;
    for (const path of await expandPaths(options.files, entry.path)) {
      // starting with another part at each file, so that many small files are dealt out too
      const first = reports.length;
      const wanted = (shard: number): boolean => (first + shard) % part.of === part.index;
      const report = await prepareOne({ path, entry, templates, limit: left }, options, wanted);
      left -= report.rows;
      reports.push(report);
    }
  }
  return reports;
}

/** Loads each template of a run once. */
function templateLoader({ files, folder }: DatasetOptions): (spec: string) => Promise<ChatTemplates | undefined> {
  const templates = new Map<string, ChatTemplates | undefined>();
  return async (spec) => {
    if (!templates.has(spec)) templates.set(spec, await loadChatTemplates(files, { folder, spec }));
    return templates.get(spec);
  };
}

/** File name without folder, extension and `.gz`. */
function stem(path: string): string {
  const name = path.split(/[/\\]/).at(-1)!;
  return name.replace(/(?<=.)\.gz$/i, "").replace(/(?<=.)\.[^.]*$/, "");
}
