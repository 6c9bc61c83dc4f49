// Rows of a file for a model, outside a run: what `eval`, `logprobs` and `generate` read.

import type { Files } from "@tunesmith/core";
import { type Dataset, loadChatTemplates, loadDataset, type Tokenizer, type TrainOn, TRAIN_ON } from "@tunesmith/data";
import { type ModelConfig, readModelConfig } from "@tunesmith/models";
import { loadTokenizer } from "@tunesmith/node";
import { CliError } from "./errors.ts";
import { requireFolder } from "./tuned-model.ts";

/** Folders on the command line, absolute. */
export interface ModelPaths {
  readonly model: string;
  readonly adapter: string | undefined;
}

/** What is known of a model before a device is open. */
export interface ModelFacts {
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer;
  /** where the chat template is looked for: an adapter brings the one it was trained with */
  readonly templateFolder: string;
}

/** @throws InputError `FILE_MISSING` for a folder that is none of its kind */
export async function readModelFacts(files: Files, { model, adapter }: ModelPaths): Promise<ModelFacts> {
  await requireFolder(files, model, "config.json", "model folder");
  if (adapter !== undefined) await requireFolder(files, adapter, "adapter_config.json", "adapter folder");
  const config = await readModelConfig(files, model);
  const tokenizer = await loadTokenizer(files, model);
  const own = adapter === undefined ? undefined : await loadChatTemplates(files, { folder: adapter, spec: "auto" });
  return { config, tokenizer, templateFolder: own === undefined ? model : adapter! };
}

/** Tokenizes a file's rows; over-long ones are an error. */
export function loadRows(
  files: Files,
  facts: ModelFacts,
  options: { data: string; format: string | undefined; chatTemplate: string; trainOn: TrainOn; maxLength: number },
): Promise<Dataset> {
  return loadDataset({
    files,
    tokenizer: facts.tokenizer,
    folder: facts.templateFolder,
    entries: [{ path: options.data, format: options.format }],
    chatTemplate: options.chatTemplate,
    trainOn: options.trainOn,
    overlong: "error",
    maxLength: options.maxLength,
    appendEos: true,
    vocabSize: facts.config.vocabSize,
    now: new Date(),
  });
}

/** @throws CliError `FLAG_INVALID` */
export function trainOnFlag(value: string | undefined): TrainOn {
  const found = TRAIN_ON.find((known) => known === (value ?? "assistant"));
  if (found !== undefined) return found;
  throw new CliError("FLAG_INVALID", `--train-on is ${value}`, {
    expected: TRAIN_ON.join(" | "),
    received: String(value),
    fix: `use one of ${TRAIN_ON.join(", ")}`,
  });
}
