// The folder a run leaves behind (docs/cli.md, "Run folder"): made once everything that can be checked has been checked,
// written file by file, each whole or not at all.

import { join } from "node:path";
import { type Files, isTunesmithError } from "@tunesmith/core";
import type { ChatTemplates } from "@tunesmith/data";
import type { NodeFiles } from "@tunesmith/node";
import { SftError, type Tuning } from "@tunesmith/sft";
import { CliError } from "./errors.ts";
import { METRICS_FILE, readLog } from "./metrics-log.ts";
import { withRoom } from "./room.ts";
import { EVENT_FILE, openEventFile } from "./tensorboard/event-file.ts";
import { tunedKind, writeTuned } from "./tuned-folder.ts";

const FORMAT_VERSION = 1;
/** What tells a run folder from a folder that must not be emptied. */
const MARKS = ["config.resolved.yaml", METRICS_FILE];

export interface RunFolder {
  readonly path: string;
  /** Appends one line to metrics.jsonl, and its numbers to TensorBoard's file. */
  log(line: object): Promise<void>;
  /** Has all lines so far on the disk; returns their bytes. */
  syncLog(): Promise<number>;
  writeText(name: string, text: string): Promise<void>;
  writeJson(name: string, value: object): Promise<void>;
  /** Writes `adapter/` or `model/` into a folder of the run; `.` is the run itself. See `writeTuned`. */
  save(name: string, tuning: Tuning, options: { readonly exact: boolean }): Promise<void>;
  /** Saves the state of the lowest eval loss so far, and points best.json at it. */
  saveBest(best: { readonly step: number; readonly eval_loss: number }, tuning: Tuning): Promise<void>;
  close(): Promise<void>;
}

/**
 * Can a run write here? Changes nothing.
 * @throws CliError `OUTPUT_EXISTS`, `OUTPUT_NOT_A_RUN`
 */
export async function checkOutput(
  files: Files,
  path: string,
  { overwrite, resume }: { overwrite: boolean; resume: boolean },
): Promise<void> {
  const names = await listed(files, path);
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
 * @param from.resumeAt - goes on with the folder of a run instead, whose log is cut back to so many bytes
 */
export async function createRunFolder(
  path: string,
  from: {
    files: NodeFiles;
    model: string;
    templates: ChatTemplates | undefined;
    resumeAt?: number | undefined;
    /** also writes TensorBoard's event file */
    tensorboard?: boolean;
  },
): Promise<RunFolder> {
  const { files, model, templates, resumeAt } = from;
  if (resumeAt === undefined) for (const name of await listed(files, path)) await files.remove(join(path, name));
  else await cutLog(files, join(path, METRICS_FILE), resumeAt);
  const metrics = await files.append(join(path, METRICS_FILE));
  const curves = from.tensorboard
    ? await openEventFile(files, join(path, EVENT_FILE), {
        lines: await readLog(files, path),
        now: Date.now,
      })
    : undefined;
  const writeText = (name: string, text: string): Promise<void> =>
    files.writeAtomic(join(path, name), [new TextEncoder().encode(text)]);
  const writeJson = (name: string, value: object): Promise<void> =>
    writeText(name, `${JSON.stringify({ format_version: FORMAT_VERSION, ...value }, null, 2)}\n`);
  const save: RunFolder["save"] = (name, tuning, { exact }) =>
    writeTuned(files, join(path, name, tunedKind(tuning)), tuning, { from: { model, templates }, exact });
  return {
    path,
    log: (line) => {
      const text = `${JSON.stringify({ format_version: FORMAT_VERSION, ...line })}\n`;
      const bytes = new TextEncoder().encode(text);
      return withRoom(files, { path, bytes: bytes.length, what: "a line of metrics.jsonl" }, async () => {
        await metrics.write(bytes);
        await curves?.add(line);
      });
    },
    syncLog: () => metrics.sync(),
    writeText,
    writeJson,
    save,
    saveBest: async (best, tuning) => {
      const at = `checkpoints/step-${best.step}`;
      await save(at, tuning, { exact: true });
      await writeJson("best.json", { ...best, path: at });
    },
    close: async () => {
      await metrics.sync();
      await metrics.close();
      await curves?.close();
    },
  };
}

/** Names in a folder that need not exist. */
async function listed(files: Files, path: string): Promise<string[]> {
  return files.list(path).catch((error: unknown) => {
    if (isTunesmithError(error) && error.code === "FILE_MISSING") return [];
    throw error;
  });
}

/** Leaves what was logged before a checkpoint. What a killed process wrote last may be no line. */
async function cutLog(files: Files, path: string, bytes: number): Promise<void> {
  const source = await files.open(path);
  try {
    if (source.size < bytes)
      throw new SftError("CHECKPOINT_CHANGED", `${path} is shorter than it was at the checkpoint`, {
        path,
        received: `${source.size} bytes`,
        expected: `at least ${bytes} bytes`,
        fix: "put metrics.jsonl back, or start anew with --overwrite",
      });
    if (source.size > bytes) await files.writeAtomic(path, [await source.read(0, bytes)]);
  } finally {
    await source.close();
  }
}
