// Scores rows: those of a run with its best adapter, or a file's with a model and an adapter.

import { resolve } from "node:path";
import { type Files, parseStrictJson } from "@tunesmith/core";
import type { Example } from "@tunesmith/data";
import { type FourBitCodec, fourBitCodec } from "@tunesmith/lora";
import { nodeFiles } from "@tunesmith/node";
import { evaluate, type EvalResult } from "@tunesmith/sft";
import { baseCodec } from "../base-weights.ts";
import { loadConfig } from "../config/load.ts";
import { configError } from "../config/problem.ts";
import { type ConfiguredRun, loadRuns } from "../config/stages.ts";
import type { Context, Outcome } from "../context.ts";
import { openGpu } from "../device.ts";
import { CliError } from "../errors.ts";
import type { Options } from "../flags.ts";
import { withBase } from "../computed-start.ts";
import { templateSpec } from "../template-spec.ts";
import { readTextFile } from "../read-file.ts";
import { loadRows, readModelFacts, trainOnFlag } from "../rows.ts";
import { loadRunData } from "../run-data.ts";
import { trainsWeights } from "../tune-run.ts";
import type { TunedKind } from "../tuned-folder.ts";
import { loadReadyModel, requireFolder } from "../tuned-model.ts";

type Flags = "set" | "base" | "model" | "adapter" | "data" | "format" | "chat-template" | "train-on" | "max-length";

/** What is scored, and with what. */
interface Job {
  readonly model: string;
  readonly adapter: string | undefined;
  readonly examples: readonly Example[];
  readonly positions: number;
  readonly batchSize: number;
  readonly codec: FourBitCodec;
}

const BATCH_SIZE = 8;
const AUTO_LENGTH = 1024;

export async function run([path]: readonly string[], options: Options<Flags>, context: Context): Promise<Outcome> {
  const files = nodeFiles();
  const job = path === undefined ? await fileJob(files, options, context) : await runJob(files, path, options, context);
  const device = await openGpu(context);
  const ready = await loadReadyModel(device, files, job);
  const tasks = [...new Set(job.examples.map((example) => example.task))];
  const result = await evaluate(ready, job, tasks);
  const document = { ...result, rows: job.examples.length, model: job.model, adapter: job.adapter ?? null };
  return { document, text: textOf(result) };
}

/** A run's eval rows with `best`, else its last state; `--base` scores the base. */
async function runJob(files: Files, path: string, options: Options<Flags>, context: Context): Promise<Job> {
  const others = (["model", "adapter", "data", "format", "chatTemplate", "trainOn", "maxLength"] as const).filter(
    (name) => options[name] !== undefined,
  );
  if (others.length > 0)
    throw new CliError("FLAG_CONFLICT", `a config already says what ${others.join(", ")} would`, {
      received: others.join(", "),
      expected: "a config, or flags",
      fix: "change keys of the config with --set",
    });
  const written = (await loadRuns(path, { cwd: context.cwd, sets: options.set })).at(-1)!; // of stages the last one
  const loaded =
    written.stage && !options.base ? await asItRan(files, written) : await withBase(written, files, context);
  const { config, source } = loaded;
  if (config.data.eval === undefined && config.data.eval_split === undefined)
    throw configError(
      {
        code: "CONFIG_KEY_MISSING",
        key: ["data", "eval"],
        message: "is missing, and so is `data.eval_split`: there is nothing to score",
        fix: "add data.eval or data.eval_split, or name a file with --model and --data",
      },
      source,
    );
  const kind = trainsWeights(config.tune.method) ? "model" : "adapter";
  const tuned = options.base ? undefined : await tunedOfRun(files, config.output, kind);
  await requireFolder(files, config.model, "config.json", "model folder");
  const data = await loadRunData(loaded, { files, now: new Date() });
  return {
    model: kind === "model" && tuned !== undefined ? tuned : config.model,
    adapter: kind === "adapter" ? tuned : undefined,
    examples: data.evaluation!,
    positions: data.positions,
    batchSize: config.train.batch_size,
    codec: await baseCodec(files, loaded),
  };
}

/** A stage with the base that it started from, as its run folder tells. */
async function asItRan(files: Files, run: ConfiguredRun): Promise<ConfiguredRun> {
  const { output } = run.config;
  await requireFolder(files, output, "config.resolved.yaml", "run folder");
  const { config } = await loadConfig(files.join(output, "config.resolved.yaml"), { cwd: "/" });
  return { ...run, config: { ...run.config, model: config.model } };
}

/**
 * The folder of a run's best state, else of its last.
 * @throws InputError `FILE_MISSING` where the run has left none
 */
async function tunedOfRun(files: Files, output: string, kind: TunedKind): Promise<string> {
  const pointer = files.join(output, "best.json");
  let folder = output;
  if (await files.exists(pointer)) {
    const best = parseStrictJson(await readTextFile(pointer), { path: pointer });
    const path = best instanceof Map && best.get("format_version") === 1 ? best.get("path") : undefined;
    if (typeof path !== "string")
      throw new CliError("INPUT_INVALID", `${pointer} is no pointer that this version can read`, {
        path: pointer,
        expected: "{format_version: 1, step, path}",
        fix: "train again with this version of tunesmith",
      });
    folder = files.join(output, path);
  }
  const tuned = files.join(folder, kind);
  await requireFolder(files, tuned, kind === "model" ? "config.json" : "adapter_config.json", `${kind} folder`);
  return tuned;
}

async function fileJob(files: Files, options: Options<Flags>, context: Context): Promise<Job> {
  if (options.base || options.set.length > 0)
    throw new CliError("FLAG_CONFLICT", `${options.base ? "--base" : "--set"} needs a config`, {
      fix: options.base ? "leave out --adapter to score the base" : "give the other flags instead",
    });
  const at = (path: string): string => resolve(context.cwd, path);
  const paths = { model: at(options.model!), adapter: options.adapter === undefined ? undefined : at(options.adapter) };
  const facts = await readModelFacts(files, paths);
  const maxLength = options.maxLength ?? Math.min(AUTO_LENGTH, facts.config.maxPositions);
  if (maxLength > facts.config.maxPositions)
    throw new CliError(
      "FLAG_INVALID",
      `--max-length is ${maxLength}, and the model has ${facts.config.maxPositions} positions`,
      {
        received: String(maxLength),
        expected: `at most ${facts.config.maxPositions}`,
        fix: `use at most ${facts.config.maxPositions}`,
      },
    );
  const { examples } = await loadRows(files, facts, {
    data: at(options.data!),
    format: options.format,
    chatTemplate: templateSpec(options.chatTemplate, context.cwd),
    trainOn: trainOnFlag(options.trainOn),
    maxLength,
  });
  return { ...paths, examples, positions: maxLength, batchSize: BATCH_SIZE, codec: fourBitCodec() };
}

function textOf({ loss, perplexity, token_accuracy: accuracy, targets, tasks }: EvalResult): string {
  const names = Object.entries(tasks);
  return [
    `loss ${loss.toFixed(4)}  perplexity ${perplexity.toFixed(3)}  token accuracy ${accuracy.toFixed(4)}  (${targets} targets)`,
    ...(names.length < 2
      ? []
      : names.map(([name, task]) => `  ${name}: loss ${task.loss.toFixed(4)} (${task.targets} targets)`)),
  ].join("\n");
}
