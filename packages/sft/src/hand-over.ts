// sft.json, the hand-over of a run: what a later stage (reward model, DPO, PPO) opens, with the hashes of everything that it
// must find unchanged. Paths to what the run has written are relative to its folder, with `/`.

import { type Files, isTunesmithError, parseStrictJson } from "@tunesmith/core";
import { hashFile, sha256 } from "@tunesmith/data";
import { openModel } from "@tunesmith/safetensors";
import { readText } from "./checkpoint/folder.ts";
import { SftError } from "./errors.ts";
import type { EvalResult } from "./events.ts";

const FORMAT_VERSION = 1;
export const HAND_OVER_FILE = "sft.json";

/** The file as it is written. */
export interface HandOverDocument {
  readonly method: "lora" | "qlora" | "full" | "freeze";
  /** what the run started from; `quantization`: how it was stored while an adapter learnt on it, null: as it is on disk */
  readonly base: {
    /** absolute, where the run was */
    readonly path: string;
    /** of config.json and all weights, see {@link hashModelFolder} */
    readonly sha256: string;
    readonly quantization: {
      readonly type: "nf4" | "fp4";
      readonly double_quant: boolean;
      readonly block_size: number;
      readonly skip_modules: readonly string[];
    } | null;
  };
  /** the PEFT folder; null where weights of the model were trained */
  readonly adapter: string | null;
  /** the model folder then */
  readonly model: string | null;
  /** of adapter_config.json and adapter_model.safetensors; of a model as of the base */
  readonly sha256: string;
  /** of tokenizer.json in that folder */
  readonly tokenizer_sha256: string;
  /** the template of the training in that folder; null where none was needed */
  readonly chat_template: string | null;
  readonly chat_template_sha256: string | null;
  /** null where the tokenizer has none, or one that also ends a text */
  readonly pad_id: number | null;
  /** what ends a generation; the first one ends a document */
  readonly eos_ids: readonly number[];
  readonly bos_id: number | null;
  /** does the tokenizer itself put BOS before a text? (a template writes its own) */
  readonly add_bos: boolean;
  /** longest example, in tokens */
  readonly max_length: number;
  readonly seed: number;
  /** updates, and after how many of them the state was so */
  readonly steps: number;
  readonly kept_step: number;
  /** of config.resolved.yaml */
  readonly config_sha256: string;
  /** the last evaluation of that state, and the test; null without rows */
  readonly eval: EvalResult | null;
  readonly test: EvalResult | null;
}

/** A hand-over whose files are there and unchanged. */
export interface HandOver extends HandOverDocument {
  /** the run folder that holds it */
  readonly folder: string;
  readonly paths: {
    /** a model folder: what an adapter goes on, or what was trained whole */
    readonly model: string;
    readonly adapter: string | undefined;
    /** a folder with tokenizer and template */
    readonly tokenizer: string;
  };
  /** source of the template */
  readonly template: string | undefined;
}

/** SHA-256 over those of config.json and of each file of weights, in the order of their names. */
export async function hashModelFolder(files: Files, folder: string): Promise<string> {
  const model = await openModel(files, folder);
  await model.close();
  return hashTogether(files, folder, ["config.json", ...model.shards]);
}

/** Of the two files that make a PEFT adapter. */
export function hashAdapterFolder(files: Files, folder: string): Promise<string> {
  return hashTogether(files, folder, ["adapter_config.json", "adapter_model.safetensors"]);
}

async function hashTogether(files: Files, folder: string, names: readonly string[]): Promise<string> {
  const hashes: string[] = [];
  for (const name of names) hashes.push((await hashFile(files, files.join(folder, name))).sha256);
  return sha256(new TextEncoder().encode(hashes.join("\n")));
}

/**
 * Opens the hand-over of a run folder, or of the last stage of one.
 *
 * @param options.base - where the base is now; default: where it was
 * @param options.verify - false: believes the hashes instead of reading every weight
 * @throws SftError `HANDOVER_UNSOUND` for a file of another format, `HANDOVER_CHANGED` naming what is not as it was
 * @throws InputError `FILE_MISSING`, `JSON_INVALID`
 */
export async function openHandOver(
  files: Files,
  folder: string,
  { base, verify = true }: { readonly base?: string; readonly verify?: boolean } = {},
): Promise<HandOver> {
  const at = await handOverFolder(files, folder);
  const path = files.join(at, HAND_OVER_FILE);
  const text = await readText(files, path);
  parseStrictJson(text, { path });
  const document = checked(JSON.parse(text), path);
  const tuned = files.join(at, (document.adapter ?? document.model)!);
  const basePath = base ?? document.base.path;
  const template = document.chat_template === null ? undefined : files.join(at, ...document.chat_template.split("/"));
  const expect = async (what: string, where: string, expected: string | null, hash: Promise<string>): Promise<void> => {
    const received = await hash;
    if (received === expected) return;
    throw new SftError("HANDOVER_CHANGED", `${where}: the ${what} is not the one of ${path}`, {
      path: where,
      expected: String(expected),
      received,
      fix: what === "base" ? "name the base that the run started from" : "open the run folder as the run has left it",
    });
  };
  const ofFile = (file: string): Promise<string> => hashFile(files, file).then((hash) => hash.sha256);
  const tokenizer = files.join(tuned, "tokenizer.json");
  await expect("tokenizer", tokenizer, document.tokenizer_sha256, ofFile(tokenizer));
  if (template !== undefined) await expect("chat template", template, document.chat_template_sha256, ofFile(template));
  if (verify && document.adapter !== null) {
    await expect("adapter", tuned, document.sha256, hashAdapterFolder(files, tuned));
    await expect("base", basePath, document.base.sha256, hashModelFolder(files, basePath));
  } else if (verify) await expect("model", tuned, document.sha256, hashModelFolder(files, tuned));
  const adapter = document.adapter === null ? undefined : tuned;
  return {
    ...document,
    folder: at,
    paths: { model: adapter === undefined ? tuned : basePath, adapter, tokenizer: tuned },
    template: template === undefined ? undefined : await readText(files, template),
  };
}

/** A run of stages points to its last one. */
async function handOverFolder(files: Files, folder: string): Promise<string> {
  if (await files.exists(files.join(folder, HAND_OVER_FILE))) return folder;
  const path = files.join(folder, "last.json");
  const last = await readText(files, path).catch((error: unknown) => {
    if (!isTunesmithError(error) || error.code !== "FILE_MISSING") throw error;
    throw new SftError("HANDOVER_UNSOUND", `${folder} has no ${HAND_OVER_FILE}: it is no run that has ended`, {
      path: folder,
      expected: HAND_OVER_FILE,
      fix: "name the folder that `train` has written; an interrupted run goes on with --resume",
      cause: error,
    });
  });
  const pointer = parseStrictJson(last, { path });
  const name = pointer instanceof Map ? pointer.get("path") : undefined;
  return typeof name === "string" && /^[\w-]+$/.test(name) ? files.join(folder, name) : folder;
}

const STRING_OR_NULL = ["adapter", "model", "chat_template", "chat_template_sha256"] as const;
const STRINGS = ["method", "sha256", "tokenizer_sha256", "config_sha256"] as const;
const NUMBERS = ["max_length", "seed", "steps", "kept_step"] as const;

/** @throws SftError `HANDOVER_UNSOUND` */
function checked(json: unknown, path: string): HandOverDocument {
  const fail = (what: string, received: unknown): never => {
    throw new SftError("HANDOVER_UNSOUND", `${path}: ${what}`, {
      path,
      received: JSON.stringify(received) ?? "nothing",
      expected: `a hand-over with format_version ${FORMAT_VERSION}`,
      fix: "open it with the version of tunesmith that wrote it",
    });
  };
  const map = (value: unknown, what: string): Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : fail(`${what} is no map`, value);
  const root = map(json, "it");
  if (root["format_version"] !== FORMAT_VERSION) fail("an unknown format_version", root["format_version"]);
  const base = map(root["base"], "base");
  for (const key of ["path", "sha256"]) if (typeof base[key] !== "string") fail(`base.${key} is no text`, base[key]);
  for (const key of STRINGS) if (typeof root[key] !== "string") fail(`${key} is no text`, root[key]);
  for (const key of NUMBERS) if (typeof root[key] !== "number") fail(`${key} is no number`, root[key]);
  for (const key of STRING_OR_NULL)
    if (root[key] !== null && typeof root[key] !== "string") fail(`${key} is no text`, root[key]);
  if ((root["adapter"] === null) === (root["model"] === null))
    fail("it names an adapter and a model, or neither", null);
  const eos = root["eos_ids"];
  if (!Array.isArray(eos) || !eos.every((id) => Number.isInteger(id))) fail("eos_ids is no list of ids", eos);
  return root as unknown as HandOverDocument;
}
