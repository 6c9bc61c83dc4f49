// Is it sound? One verdict per path, told from what the path is; nothing here needs a device.

import { readdir, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { ErrorJson, Files } from "@tunesmith/core";
import { InputError } from "@tunesmith/core";
import { DataError, detectFormat, expandPaths, readRow, readRows } from "@tunesmith/data";
import { fourBitCodec, readPeftAlone } from "@tunesmith/lora";
import { checkModel } from "@tunesmith/models";
import { loadTokenizer, nodeFiles } from "@tunesmith/node";
import { openSafetensors } from "@tunesmith/safetensors";
import { HAND_OVER_FILE, openHandOver } from "@tunesmith/sft";
import { type ConfiguredRun, loadRuns } from "../config/stages.ts";
import type { Context, Outcome } from "../context.ts";
import { CliError } from "../errors.ts";
import { errorText, typedError } from "../failure.ts";
import { isTemplateName } from "../template-spec.ts";

/** What a path may be, and how each is judged. */
const CHECKS = {
  model: checkModelFolder,
  adapter: checkAdapterFolder,
  safetensors: checkSafetensors,
  dataset: checkDataset,
  config: checkConfigFile,
  run: checkRunFolder,
} as const satisfies Record<string, (place: Place) => Promise<string>>;

type Kind = keyof typeof CHECKS;

interface Place {
  readonly files: Files;
  /** absolute */
  readonly path: string;
}

interface Item {
  readonly path: string;
  readonly kind: Kind | "unknown";
  readonly ok: boolean;
  /** what was found in a sound one */
  readonly summary?: string;
  readonly error?: ErrorJson;
}

export async function run(paths: readonly string[], _: object, context: Context): Promise<Outcome> {
  const files = nodeFiles();
  const items: Item[] = [];
  const texts: string[] = [];
  for (const shown of paths) {
    const path = resolve(context.cwd, shown);
    let kind: Item["kind"] = "unknown";
    try {
      kind = await kindOf(path);
      const summary = await CHECKS[kind]({ files, path });
      items.push({ path: shown, kind, ok: true, summary });
      texts.push(`ok   ${shown}: ${summary}`);
    } catch (thrown) {
      const error = typedError(thrown);
      if (error.code === "BUG") throw thrown;
      items.push({ path: shown, kind, ok: false, error: error.toJSON() });
      texts.push(`BAD  ${shown} (${kind})\n     ${errorText(error).trimEnd().replaceAll("\n", "\n     ")}`);
    }
  }
  const ok = items.every((item) => item.ok);
  return { document: { ok, items }, text: texts.join("\n"), exitCode: ok ? 0 : 2 };
}

/** @throws InputError `FILE_MISSING`; CliError `INPUT_INVALID` for what is none of the kinds */
async function kindOf(path: string): Promise<Kind> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new InputError("FILE_MISSING", `${path}: there is no such file or folder`, {
      path,
      cause,
      fix: "check the path",
    });
  });
  if (found.isDirectory()) {
    const names = await readdir(path);
    if (names.includes("adapter_config.json")) return "adapter";
    if (names.includes("config.json")) return "model";
    if (names.includes(HAND_OVER_FILE) || names.includes("stages.json")) return "run";
  } else if (found.isFile()) {
    if (path.endsWith(".safetensors")) return "safetensors";
    if (/\.(jsonl|ndjson|json|csv|tsv|parquet)(\.gz)?$/i.test(path)) return "dataset";
    if (/\.ya?ml$/.test(path)) return "config";
  }
  throw new CliError("INPUT_INVALID", `${path}: this is nothing that \`check\` knows`, {
    path,
    expected:
      "a model folder, an adapter folder, the folder of a run that has ended, a .safetensors file, a dataset (.jsonl, .json, .csv, .tsv, .parquet, each also .gz) or a .yaml config",
    received: found.isDirectory() ? "a folder without config.json, adapter_config.json and sft.json" : "another file",
    fix: "name one of these",
  });
}

async function checkRunFolder({ files, path }: Place): Promise<string> {
  const { method, steps, base, adapter } = await openHandOver(files, path);
  return `run, ${method}, ${steps} steps; ${adapter === null ? "model" : `adapter on ${base.path}`}, tokenizer and template as the run left them`;
}

async function checkModelFolder({ files, path }: Place): Promise<string> {
  const { architecture, layers, hiddenSize } = await checkModel(files, path, fourBitCodec());
  const model = `model, ${architecture} with ${layers} layers of ${hiddenSize}`;
  if (!(await files.exists(files.join(path, "tokenizer.json"))))
    return `${model}; no tokenizer.json, so only rows of token ids can be used`;
  const { vocabSize } = await loadTokenizer(files, path);
  return `${model}, tokenizer with ${vocabSize} tokens`;
}

/** Against itself: which layers it sits on and how large they are is told by its own tensors. */
async function checkAdapterFolder({ files, path }: Place): Promise<string> {
  const { config, targets } = await readPeftAlone(files, path);
  return `adapter, LoRA of rank ${config.r} on ${targets.length} layers`;
}

async function checkSafetensors({ files, path }: Place): Promise<string> {
  const file = await openSafetensors(files, path);
  try {
    return `safetensors, ${file.tensors.size} tensors`;
  } finally {
    await file.close();
  }
}

async function checkDataset({ files, path }: Place): Promise<string> {
  let rows = 0;
  let format: ReturnType<typeof detectFormat> | undefined;
  for await (const { row, at } of readRows(files, path)) {
    format ??= detectFormat(row, at);
    readRow(format, row, at);
    rows++;
  }
  if (format === undefined)
    throw new DataError("TASK_EMPTY", `${path}: the file has no rows`, {
      path,
      fix: "remove the file from the config",
    });
  return `dataset, ${rows} rows in the format ${format}`;
}

async function checkConfigFile({ files, path }: Place): Promise<string> {
  for (const run of await loadRuns(path, { cwd: "/" })) await checkRun(files, run);
  return "config";
}

async function checkRun(files: Files, { config, source }: ConfiguredRun): Promise<void> {
  const { data, probe, regularize } = config;
  const lists = [data.train, data.eval, data.test, probe?.sets, probe?.pairs, regularize.replay];
  for (const entry of lists.flatMap((list) => list ?? [])) {
    for (const file of await expandPaths(files, entry.path))
      if (!(await files.exists(file))) throw missing("data", file, source.path);
  }
  const named = [
    ...(config.sample ? [{ key: "sample.path", at: config.sample.path }] : []),
    { key: "model", at: config.model },
    ...(isTemplateName(data.chat_template) ? [] : [{ key: "data.chat_template", at: data.chat_template }]),
    ...(config.tune.init_from === null ? [] : [{ key: "tune.init_from", at: config.tune.init_from }]),
  ];
  for (const { key, at } of named) if (!(await files.exists(at))) throw missing(key, at, source.path);
}

function missing(key: string, at: string, config: string): InputError {
  return new InputError("FILE_MISSING", `${config}: \`${key}\` names ${at}, which does not exist`, {
    path: at,
    fix: "correct the path; relative paths start at the config file",
  });
}
