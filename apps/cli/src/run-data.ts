// The data of a run as its config describes it: tokenizer, examples, splits, tasks and schedule. CPU only.

import { availableParallelism } from "node:os";
import { BugError, type Files } from "@tunesmith/core";
import {
  checkLosses,
  countTargets,
  createSchedule,
  expandPaths,
  loadDataset,
  lossesOf,
  prepareDataset,
  samplingWeights,
} from "@tunesmith/data";
import type {
  ChatTemplates,
  DataEntry,
  Dataset,
  DatasetOptions,
  EntryReport,
  Example,
  Objective,
  PreparedReport,
  Schedule,
  Task,
  TaskSettings,
  Tokenizer,
} from "@tunesmith/data";
import { readModelConfig } from "@tunesmith/models";
import type { ModelConfig } from "@tunesmith/models";
import { loadTokenizer, openTokenizeWorkers, type TokenizeWorkers } from "@tunesmith/node";
import type { Probe, Replay } from "@tunesmith/sft";
import type { LoadedConfig, ResolvedConfig } from "./config/load.ts";
import { configError } from "./config/problem.ts";
import { endsOf } from "./mask-proof.ts";
import { partition, qualityReport } from "./curation.ts";
import { readPairs } from "./probe-data.ts";
import type { Parts } from "./curation.ts";
import { replayOf } from "./replay-data.ts";
import { readSamplePrompts, samplePositions } from "./samples.ts";

/** Everything a run reads before it needs a device. */
export interface RunData extends Parts {
  readonly tokenizer: Tokenizer;
  readonly modelConfig: ModelConfig;
  /** tokens per example: `data.max_length`, decided */
  readonly maxLength: number;
  /** the largest `max_length` of the whole config: no example is longer */
  readonly positions: number;
  /** tasks of the training rows, in order of first appearance */
  readonly tasks: readonly Task[];
  readonly objective: Objective;
  readonly schedule: Schedule;
  /** of the training files, before rows were held back */
  readonly reports: readonly EntryReport[];
  readonly templates: ChatTemplates | undefined;
  /** undefined where the config names none */
  readonly probe: Probe | undefined;
  /** of `regularize.kl_to_base` */
  readonly replay: Replay | undefined;
  /** prompts of `sample`, as ids */
  readonly samplePrompts: readonly Int32Array[] | undefined;
}

/** `data.max_length: auto` */
const AUTO_LENGTH = 1024;

type ConfigEntry = ResolvedConfig["data"]["train"][number];

/**
 * Reads a run's data.
 * @param options.now - for templates that print the date
 * @throws whatever the data, model and node packages throw; CliError `CONFIG_CONFLICT` for a length the model cannot take
 */
export async function loadRunData(loaded: LoadedConfig, { files, now }: { files: Files; now: Date }): Promise<RunData> {
  const { config } = loaded;
  const { data, seed, train } = config;
  const modelConfig = await readModelConfig(files, config.model);
  const tokenizer = await loadTokenizer(files, config.model);
  const { maxLength, positions } = decideLengths(loaded, modelConfig);
  const read = (entries: readonly ConfigEntry[], tasks?: Readonly<Record<string, TaskSettings>>): Promise<Dataset> =>
    withWorkers(config, { files, entries }, (workers) =>
      loadDataset(datasetOptions(config, { files, now, tokenizer, modelConfig, maxLength, entries, tasks, workers })),
    );

  const dataset = await read(data.train, taskSettings(config));
  checkLosses(dataset.reports, config.gates.max_lost);
  const held = async (entries: readonly ConfigEntry[] | undefined): Promise<readonly Example[] | undefined> => {
    if (entries === undefined) return undefined;
    const own = await read(entries);
    checkLosses(own.reports, config.gates.max_lost);
    return own.examples;
  };
  const samplePrompts = await readSamplePrompts(files, config, { tokenizer, modelConfig, now });
  const parts = partition(dataset, { evaluation: await held(data.eval), test: await held(data.test) }, config);
  const names = dataset.tasks.map((task) => task.name);
  const exampleTasks = parts.train.map((example) => names.indexOf(example.task));
  const lengths = parts.train.map((example) => example.inputIds.length);
  const schedule = createSchedule({
    tasks: sampledTasks(dataset.tasks, exampleTasks, data),
    exampleTasks,
    seed,
    batchSize: train.batch_size,
    gradAccumulation: train.grad_accumulation,
    shuffle: data.shuffle,
    weightChanges: data.sampling_schedule,
    ...(data.packing === "bins" ? { bins: { lengths, maxLength: positions } } : {}),
    ...(data.group_by_length ? { groupByLength: lengths } : {}),
    ...(train.max_steps === undefined ? { epochs: train.epochs } : { maxSteps: train.max_steps }),
  });
  return {
    tokenizer,
    modelConfig,
    maxLength,
    positions: Math.max(positions, samplePrompts ? samplePositions(samplePrompts, config, modelConfig) : 0),
    ...parts,
    tasks: dataset.tasks,
    objective: decideObjective(train.objective, dataset.tasks),
    schedule,
    reports: dataset.reports,
    templates: dataset.templates,
    probe: config.probe && {
      examples: (await held(config.probe.sets)) ?? [],
      pairs: await readPairs(files, config.probe.pairs ?? [], {
        tokenizer,
        templates: dataset.templates,
        maxLength,
        vocabSize: modelConfig.vocabSize,
        now,
      }),
    },
    replay: replayOf(await held(config.regularize.replay), config, schedule.totalSteps),
    samplePrompts,
  };
}

/** The tasks with the weights of `data.sampling`, if it is set. */
function sampledTasks(
  tasks: readonly Task[],
  exampleTasks: readonly number[],
  { sampling, sampling_temperature }: ResolvedConfig["data"],
): readonly Task[] {
  if (sampling === undefined) return tasks;
  const sizes = tasks.map(() => 0);
  for (const task of exampleTasks) sizes[task]!++;
  const weights = samplingWeights(sampling, sizes, sampling_temperature);
  return tasks.map((task, k) => ({ ...task, samplingWeight: weights[k] }));
}

/**
 * Fills `data.cache` with the rows of a config, or with one part of them.
 * @returns a report per file of data.train, data.eval, data.test, probe.sets and regularize.replay
 */
export async function prepareRunData(
  loaded: LoadedConfig,
  { files, now }: { files: Files; now: Date },
  part: { readonly index: number; readonly of: number },
): Promise<PreparedReport[]> {
  const { config } = loaded;
  const { data } = config;
  if (data.cache === null) throw new BugError("no data.cache to prepare rows for");
  const modelConfig = await readModelConfig(files, config.model);
  const tokenizer = await loadTokenizer(files, config.model);
  const { maxLength } = decideLengths(loaded, modelConfig);
  const reports: PreparedReport[] = [];
  const lists = [data.train, data.eval, data.test, config.probe?.sets, config.regularize.replay];
  for (const entries of lists.map((list) => list ?? [])) {
    const cache = data.cache;
    const own = await withWorkers(config, { files, entries }, (workers) => {
      const options = datasetOptions(config, { files, now, tokenizer, modelConfig, maxLength, entries, workers });
      return prepareDataset({ ...options, cache }, part);
    });
    reports.push(...own);
  }
  return reports;
}

/** Below this threads cost more than they bring: each loads the tokenizer first. */
const WORKER_BYTES = 2 ** 24;

/** Runs `work` with the threads that `data.workers` asks for. */
async function withWorkers<T>(
  { model, data }: ResolvedConfig,
  { files, entries }: { files: Files; entries: readonly ConfigEntry[] },
  work: (workers: TokenizeWorkers | undefined) => Promise<T>,
): Promise<T> {
  let threads = data.workers;
  if (threads === "auto") {
    let bytes = 0;
    for (const { path } of entries)
      for (const file of await expandPaths(files, path)) {
        const source = await files.open(file);
        bytes += source.size;
        await source.close();
      }
    const spare = Math.min(8, availableParallelism() - 1);
    threads = bytes < WORKER_BYTES || spare < 2 ? 0 : spare; // one thread more is not worth its start
  }
  if (threads === 0) return work(undefined);
  const workers = openTokenizeWorkers({ folder: model, threads });
  try {
    return await work(workers);
  } finally {
    await workers.close();
  }
}

function datasetOptions(
  { data, model, seed }: ResolvedConfig,
  from: Pick<DatasetOptions, "files" | "now" | "tokenizer" | "maxLength" | "tasks" | "workers"> & {
    modelConfig: ModelConfig;
    entries: readonly ConfigEntry[];
  },
): DatasetOptions {
  const { modelConfig, entries, ...rest } = from;
  return {
    ...rest,
    folder: model,
    entries: entries.map((entry) => dataEntry(entry, modelConfig)),
    chatTemplate: data.chat_template,
    trainOn: data.train_on,
    overlong: data.overlong,
    onBadRow: data.on_bad_row,
    cache: data.cache ?? undefined,
    appendEos: data.append_eos,
    vocabSize: modelConfig.vocabSize,
    seed,
  };
}

function dataEntry(entry: ConfigEntry, model: ModelConfig): DataEntry {
  return {
    path: entry.path,
    fileFormat: entry.file_format,
    rowsKey: entry.rows_key,
    sampleBy: entry.sample_by,
    format: entry.format,
    onBadRow: entry.on_bad_row,
    name: entry.name,
    maxRows: entry.max_rows,
    rows: { map: entry.map, ignoreColumns: entry.ignore_columns, oasst: entry.oasst },
    trainOn: entry.train_on,
    chatTemplate: entry.chat_template,
    overlong: entry.overlong,
    maxLength: entry.max_length === undefined ? undefined : lengthOf(entry.max_length, model),
    samplingWeight: entry.sampling_weight,
    lossWeight: entry.loss_weight,
  };
}

function taskSettings({ data }: ResolvedConfig): Record<string, TaskSettings> | undefined {
  if (data.tasks === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(data.tasks).map(([name, task]) => [
      name,
      { lossWeight: task.loss_weight, samplingWeight: task.sampling_weight, maxEpochs: task.max_epochs },
    ]),
  );
}

function decideObjective(written: "auto" | Objective, tasks: readonly Task[]): Objective {
  if (written !== "auto") return written;
  return tasks.some((task) => task.lossWeight !== undefined) ? "task_mean" : "token_mean";
}

function lengthOf(value: number | "auto", { maxPositions }: ModelConfig): number {
  return value === "auto" ? Math.min(AUTO_LENGTH, maxPositions) : value;
}

function decideLengths({ config, source }: LoadedConfig, model: ModelConfig): { maxLength: number; positions: number } {
  const { data, probe, regularize } = config;
  const lists = [
    ...(["train", "eval", "test"] as const).map((list) => [["data", list], data[list]] as const),
    [["probe", "sets"], probe?.sets] as const,
    [["regularize", "replay"], regularize.replay] as const,
  ].flatMap(([key, entries = []]) =>
    entries.map((entry, i) => ({ key: [...key, i, "max_length"], value: entry.max_length })),
  );
  const written = [{ key: ["data", "max_length"], value: data.max_length }, ...lists];
  const lengths = written.flatMap(({ key, value }) => {
    if (value === undefined) return [];
    const length = lengthOf(value, model);
    if (length <= model.maxPositions) return [length];
    throw configError(
      {
        code: "CONFIG_CONFLICT",
        key,
        message: `asks for ${length} tokens per row, and the model has ${model.maxPositions} positions`,
        received: String(length),
        expected: `at most ${model.maxPositions}`,
        fix: `use a max_length of at most ${model.maxPositions}, or auto`,
      },
      source,
    );
  });
  return { maxLength: lengths[0]!, positions: Math.max(...lengths) };
}

/** What became of the rows: `mask-report.json`, and what `inspect` prints. Shares count rows and targets, 0 to 1. */
export function maskReport({ reports, train, tasks, maxLength, quality, tokenizer }: RunData) {
  const { share, ...lost } = lossesOf(reports);
  const perTask = tasks.map(({ name }) => {
    const own = train.filter((example) => example.task === name);
    const tokens = own.reduce((sum, example) => sum + example.inputIds.length, 0);
    const targets = own.reduce((sum, example) => sum + countTargets(example), 0);
    return { name, examples: own.length, tokens, targets };
  });
  const total = (key: "examples" | "tokens" | "targets"): number => perTask.reduce((sum, task) => sum + task[key], 0);
  return {
    format_version: 1,
    max_length: maxLength,
    longest: train.reduce((most, example) => Math.max(most, example.inputIds.length), 0),
    examples: total("examples"),
    tokens: total("tokens"),
    targets: total("targets"),
    target_share: total("targets") / Math.max(1, total("tokens")),
    lost: { rows: lost.rowsLost, of_rows: lost.rows, tokens: lost.tokensLost, of_tokens: lost.tokens, share },
    ends: endsOf(train, tokenizer),
    quality: qualityReport(quality),
    tasks: Object.fromEntries(
      perTask.map(({ name, ...task }) => [
        name,
        {
          ...task,
          example_share: task.examples / Math.max(1, total("examples")),
          token_share: task.tokens / Math.max(1, total("tokens")),
          target_share: task.targets / Math.max(1, total("targets")),
        },
      ]),
    ),
    files: reports.map((report) => ({
      path: report.path,
      rows: report.rows,
      rows_skipped: report.skipped,
      rows_blank: report.blank,
      examples: report.examples,
      tokens: report.tokens,
      targets: report.targets,
      rows_too_long: report.rowsTooLong,
      rows_without_targets: report.rowsWithoutTargets,
      rows_truncated: report.rowsTruncated,
      tokens_lost: report.tokensLost,
    })),
  };
}
