// A checkpoint is a folder `step-N` whose manifest.json names every file with its size and hash. Files are written whole
// (temporary name, sync, rename), the manifest last: a folder without a manifest, or one that does not fit it, is no
// checkpoint, whenever the process died.

import { type Files, isTunesmithError, type JsonObject, parseStrictJson } from "@tunesmith/core";
import { hashFile } from "@tunesmith/data";
import { SftError } from "../errors.ts";

const FORMAT_VERSION = 1;
const MANIFEST = "manifest.json";

/** A folder whose files are all there and unchanged. */
export interface SoundCheckpoint {
  readonly path: string;
  /** updates that were finished */
  readonly step: number;
}

/** Name of the folder of a step. */
export function checkpointName(step: number): string {
  return `step-${step}`;
}

/** Seals a folder: all `names` in it are on disk, and this makes them a checkpoint. */
export async function writeManifest(files: Files, folder: string, names: readonly string[]): Promise<void> {
  const entries: Record<string, { bytes: number; sha256: string }> = {};
  for (const name of names.toSorted()) entries[name] = await hashFile(files, files.join(folder, ...name.split("/")));
  const text = `${JSON.stringify({ format_version: FORMAT_VERSION, files: entries }, null, 2)}\n`;
  await files.writeAtomic(files.join(folder, MANIFEST), [new TextEncoder().encode(text)]);
}

/**
 * Checks a folder against its manifest.
 * @throws SftError `CHECKPOINT_UNSOUND` saying what is wrong
 */
export async function verifyCheckpoint(files: Files, folder: string): Promise<void> {
  const fail = (what: string, cause?: unknown): SftError =>
    new SftError("CHECKPOINT_UNSOUND", `${folder}: ${what}`, {
      path: folder,
      fix: "an earlier checkpoint is used instead, if there is one",
      ...(cause === undefined ? {} : { cause }),
    });
  let entries: JsonObject;
  try {
    const json = parseStrictJson(await readText(files, files.join(folder, MANIFEST)), { path: folder });
    if (!(json instanceof Map) || json.get("format_version") !== FORMAT_VERSION) throw fail("an unknown manifest");
    const named = json.get("files");
    if (!(named instanceof Map)) throw fail("a manifest without files");
    entries = named;
  } catch (cause) {
    if (isTunesmithError(cause) && cause.code === "FILE_MISSING") throw fail("it was not finished", cause);
    throw cause;
  }
  for (const [name, about] of entries) {
    // a name leads nowhere but into the folder
    if (name.split("/").some((part) => !/^[\w-][\w.-]*$/.test(part))) throw fail(`a file name ${JSON.stringify(name)}`);
    const expected = about instanceof Map ? about : new Map<string, unknown>();
    const found = await hashFile(files, files.join(folder, ...name.split("/"))).catch((cause: unknown) => {
      throw fail(`${name} cannot be read`, cause);
    });
    if (found.bytes !== expected.get("bytes") || found.sha256 !== expected.get("sha256"))
      throw fail(`${name} is not as it was written`);
  }
}

/**
 * The newest sound checkpoint.
 * @param root - holds the `step-N` folders; need not exist
 * @param skipped - told of each newer one that is not sound, and why
 */
export async function newestCheckpoint(
  files: Files,
  root: string,
  skipped: (error: SftError) => void,
): Promise<SoundCheckpoint | undefined> {
  for (const { path, step } of (await checkpointFolders(files, root)).toReversed()) {
    try {
      await verifyCheckpoint(files, path);
      return { path, step };
    } catch (error) {
      if (!(error instanceof SftError)) throw error;
      skipped(error);
    }
  }
  return undefined;
}

/** All `step-N` folders, sound or not, oldest first. */
export async function checkpointFolders(files: Files, root: string): Promise<SoundCheckpoint[]> {
  const names = await files.list(root).catch((error: unknown) => {
    if (isTunesmithError(error) && error.code === "FILE_MISSING") return [];
    throw error;
  });
  return names
    .flatMap((name) => {
      const step = /^step-(0|[1-9]\d*)$/.exec(name)?.[1];
      return step === undefined ? [] : [{ path: files.join(root, name), step: Number(step) }];
    })
    .toSorted((a, b) => a.step - b.step);
}

/** A small text file. */
export async function readText(files: Files, path: string): Promise<string> {
  const file = await files.open(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await file.read(0, file.size));
  } finally {
    await file.close();
  }
}
