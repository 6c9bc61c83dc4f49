// What a run has tuned, as a folder that others open: an adapter in the PEFT layout, or a model folder. Both carry the
// tokenizer and the template of the training.

import type { Files } from "@tunesmith/core";
import type { ChatTemplates } from "@tunesmith/data";
import { readPeft, writePeft } from "@tunesmith/lora";
import { biasSizes, linearPaths, replaceableWeights, writeTrainedModel } from "@tunesmith/models";
import { openModel, toF32 } from "@tunesmith/safetensors";
import type { Tuning } from "@tunesmith/sft";
import { copyFile, copyModelFiles, copyTemplates, editConfig, setDtype, writeTemplates } from "./model-files.ts";

/** A tokenizer's files in a Hugging Face folder; which of them exist depends on the model. */
const TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

/** Which of the two a method leaves; also the folder's name inside a run or a checkpoint. */
export type TunedKind = "adapter" | "model";

export function tunedKind({ adapter }: Pick<Tuning, "adapter">): TunedKind {
  return adapter ? "adapter" : "model";
}

/** The base and the template of a run. */
export interface TunedFrom {
  readonly model: string;
  readonly templates: ChatTemplates | undefined;
}

/**
 * Writes the present state into a folder.
 * @param options.exact - trained weights as f32, for going on with them; else in the base's dtype
 */
export async function writeTuned(
  files: Files,
  folder: string,
  { adapter, store }: Tuning,
  { from, exact }: { from: TunedFrom; exact: boolean },
): Promise<void> {
  if (adapter) {
    for (const file of TOKENIZER_FILES) {
      const source = files.join(from.model, file);
      if (await files.exists(source)) await copyFile(files, source, files.join(folder, file));
    }
    if (from.templates) await writeTemplates(files, folder, from.templates);
    await writePeft(files, folder, adapter, from.model);
    return;
  }
  await copyModelFiles(files, from.model, folder);
  if (from.templates) await writeTemplates(files, folder, from.templates);
  else await copyTemplates(files, from.model, folder);
  if (exact) await editConfig(files, folder, (config) => setDtype(config, "float32"));
  const names = new Set(store.names);
  const trained = {
    has: (name: string): boolean => names.has(name),
    read: (name: string) => store.read(name, "values"),
  };
  await writeTrainedModel(files, from.model, folder, trained, { exact });
}

/** Puts what {@link writeTuned} wrote exactly back into the store. */
export async function readTuned(files: Files, folder: string, { adapter, store, model }: Tuning): Promise<void> {
  if (adapter) {
    const { config } = model;
    const options = { tied: config.tiedHead, biases: biasSizes(config) };
    const { values } = await readPeft(files, folder, linearPaths(config), replaceableWeights(config), options);
    for (const name of store.names) store.write(name, "values", values.get(name)!);
    return;
  }
  const tensors = await openModel(files, folder);
  try {
    for (const name of store.names)
      store.write(name, "values", toF32(await tensors.read(name), tensors.tensors.get(name)!.dtype));
  } finally {
    await tensors.close();
  }
}
