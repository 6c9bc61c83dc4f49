// The folder a run leaves behind (docs/cli.md, "Run folder"): made once everything that can be checked has been checked,
// written file by file, each whole or not at all.

import { type FileHandle, mkdir, open, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Files } from "@tunesmith/core";
import type { ChatTemplates } from "@tunesmith/data";
import { type LoraAdapter, writePeft } from "@tunesmith/lora";
import { CliError } from "./errors.ts";

const FORMAT_VERSION = 1;
/** What tells a run folder from a folder that must not be emptied. */
const MARKS = ["config.resolved.yaml", "metrics.jsonl"];
/** A tokenizer's files in a Hugging Face folder; which of them exist depends on the model. */
const TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

export interface RunFolder {
  readonly path: string;
  /** Appends one line to metrics.jsonl. */
  log(line: object): Promise<void>;
  writeText(name: string, text: string): Promise<void>;
  writeJson(name: string, value: object): Promise<void>;
  /** Writes an adapter in the PEFT layout with the tokenizer and the template it was trained with. */
  saveAdapter(name: string, adapter: LoraAdapter): Promise<void>;
  /** Saves the adapter of the lowest eval loss so far, and points best.json at it. */
  saveBest(best: { readonly step: number; readonly eval_loss: number }, adapter: LoraAdapter): Promise<void>;
  close(): Promise<void>;
}

/**
 * Can a run write here? Changes nothing.
 * @throws CliError `OUTPUT_EXISTS`, `OUTPUT_NOT_A_RUN`
 */
export async function checkOutput(
  path: string,
  { overwrite, resume }: { overwrite: boolean; resume: boolean },
): Promise<void> {
  const names = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [] as string[];
    throw error;
  });
  if (names.length === 0) return;
  const isRun = MARKS.some((mark) => names.includes(mark));
  if (resume && isRun) return;
  if (!overwrite)
    throw new CliError("OUTPUT_EXISTS", `${path} exists and is not empty`, {
      path,
      fix: isRun
        ? "choose another `output`, or give --resume to go on with that run or --overwrite to delete it"
        : "choose another `output`",
    });
  if (!isRun)
    throw new CliError("OUTPUT_NOT_A_RUN", `${path} is no run folder, so --overwrite does not delete it`, {
      path,
      expected: `a folder with ${MARKS.join(" or ")}`,
      received: names.slice(0, 5).join(", "),
      fix: "choose another `output`, or remove the folder yourself",
    });
}

/**
 * Makes the folder, emptying what {@link checkOutput} allowed to be overwritten.
 * @param from.resumeAt - goes on with the folder of a run instead, whose metrics are cut back to this step
 */
export async function createRunFolder(
  path: string,
  from: { files: Files; model: string; templates: ChatTemplates | undefined; resumeAt?: number | undefined },
): Promise<RunFolder> {
  const { files, model, templates, resumeAt } = from;
  if (resumeAt === undefined)
    for (const name of await readdir(path).catch(() => []))
      await rm(join(path, name), { recursive: true, force: true });
  else await cutMetrics(files, join(path, "metrics.jsonl"), resumeAt);
  await mkdir(path, { recursive: true });
  const metrics: FileHandle = await open(join(path, "metrics.jsonl"), "a");
  const writeText = (name: string, text: string): Promise<void> =>
    files.writeAtomic(join(path, name), [new TextEncoder().encode(text)]);
  const writeJson = (name: string, value: object): Promise<void> =>
    writeText(name, `${JSON.stringify({ format_version: FORMAT_VERSION, ...value }, null, 2)}\n`);
  const saveAdapter = async (name: string, adapter: LoraAdapter): Promise<void> => {
    await mkdir(join(path, name), { recursive: true });
    for (const file of TOKENIZER_FILES) {
      const source = join(model, file);
      if (await files.exists(source)) await copy(files, source, join(path, name, file));
    }
    // transformers, too, takes this file before the template in tokenizer_config.json
    if (templates) await writeText(join(name, "chat_template.jinja"), templates.default.source);
    if (templates?.toolUse) {
      await mkdir(join(path, name, "additional_chat_templates"), { recursive: true });
      await writeText(join(name, "additional_chat_templates", "tool_use.jinja"), templates.toolUse.source);
    }
    await writePeft(files, join(path, name), adapter, model);
  };
  return {
    path,
    log: async (line) => {
      await metrics.appendFile(`${JSON.stringify({ format_version: FORMAT_VERSION, ...line })}\n`);
    },
    writeText,
    writeJson,
    saveAdapter,
    saveBest: async (best, adapter) => {
      const at = `checkpoints/step-${best.step}`;
      await saveAdapter(`${at}/adapter`, adapter);
      await writeJson("best.json", { ...best, path: at });
    },
    close: async () => {
      await metrics.sync();
      await metrics.close();
    },
  };
}

/** Leaves the lines of steps up to `step`. What a killed process wrote last may be no line. */
async function cutMetrics(files: Files, path: string, step: number): Promise<void> {
  const lines = (await readFile(path, "utf8")).split("\n").slice(0, -1);
  const kept = lines.filter((line) => (JSON.parse(line) as { step: number }).step <= step);
  await files.writeAtomic(path, [new TextEncoder().encode(kept.map((line) => `${line}\n`).join(""))]);
}

async function copy(files: Files, from: string, to: string): Promise<void> {
  const source = await files.open(from);
  try {
    await files.writeAtomic(to, [await source.read(0, source.size)]);
  } finally {
    await source.close();
  }
}
