// The files of a model folder beside its weights.

import { type Files, isTunesmithError } from "@tunesmith/core";
import type { ChatTemplates } from "@tunesmith/data";

/** Weights in any form, which would contradict those written beside the copied files. */
const WEIGHTS = /\.(safetensors|bin|pth?|gguf|onnx|h5|msgpack)$|\.index\.json$/;
/** What tunesmith writes for itself. */
const MARKS: readonly string[] = ["grown.json"];
const TEMPLATE = "chat_template.jinja";
const MORE_TEMPLATES = "additional_chat_templates";

/** Names of all that is neither weight nor template file: config, tokenizer, licence. */
export async function modelFileNames(files: Files, folder: string): Promise<string[]> {
  const names: string[] = [];
  for (const name of await files.list(folder)) {
    if (WEIGHTS.test(name) || MARKS.includes(name) || name === TEMPLATE) continue;
    if ((await sizeOf(files, files.join(folder, name))) !== undefined) names.push(name);
  }
  return names;
}

/** Copies {@link modelFileNames}. */
export async function copyModelFiles(files: Files, from: string, to: string): Promise<void> {
  for (const name of await modelFileNames(files, from))
    await copyFile(files, files.join(from, name), files.join(to, name));
}

/** Copies the template files of a folder; false if it has none. */
export async function copyTemplates(files: Files, from: string, to: string): Promise<boolean> {
  if (!(await files.exists(files.join(from, TEMPLATE)))) return false;
  const more = files.join(from, MORE_TEMPLATES);
  const names = (await files.exists(more)) ? await files.list(more) : [];
  for (const name of [TEMPLATE, ...names.map((below) => files.join(MORE_TEMPLATES, below))])
    await copyFile(files, files.join(from, name), files.join(to, name));
  return true;
}

/** Writes template files, which transformers, too, takes before the template in tokenizer_config.json. */
export async function writeTemplates(files: Files, folder: string, templates: ChatTemplates): Promise<void> {
  const write = (path: string, text: string): Promise<void> =>
    files.writeAtomic(path, [new TextEncoder().encode(text)]);
  await write(files.join(folder, TEMPLATE), templates.default.source);
  if (templates.toolUse) await write(files.join(folder, MORE_TEMPLATES, "tool_use.jinja"), templates.toolUse.source);
}

export async function copyFile(files: Files, from: string, to: string): Promise<void> {
  const source = await files.open(from);
  try {
    await files.writeAtomic(to, [await source.read(0, source.size)]);
  } finally {
    await source.close();
  }
}

/** Bytes of a file; undefined for a folder or what else is none. */
export async function sizeOf(files: Files, path: string): Promise<number | undefined> {
  try {
    const file = await files.open(path);
    await file.close();
    return file.size;
  } catch (error) {
    if (isTunesmithError(error) && error.code === "FILE_MISSING") return undefined;
    throw error;
  }
}

/** Rewrites a folder's config.json. */
export async function editConfig(
  files: Files,
  folder: string,
  edit: (config: Record<string, unknown>) => void,
): Promise<void> {
  const path = files.join(folder, "config.json");
  const source = await files.open(path);
  const text = await source
    .read(0, source.size)
    .then((bytes) => new TextDecoder().decode(bytes))
    .finally(() => source.close());
  const config = JSON.parse(text) as Record<string, unknown>;
  edit(config);
  await files.writeAtomic(path, [new TextEncoder().encode(`${JSON.stringify(config, null, 2)}\n`)]);
}

/** Says in a config what its weights are stored as, under the keys that it has. */
export function setDtype(config: Record<string, unknown>, dtype: "float32" | "float16" | "bfloat16"): void {
  for (const key of ["torch_dtype", "dtype"]) if (key in config) config[key] = dtype;
}
