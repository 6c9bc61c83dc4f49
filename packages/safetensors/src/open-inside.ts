// Names of files that come out of a file (an index, a config) are hostile until shown otherwise: path
// traversal through `weight_map` was reported in several loaders.

import type { Files, FileSource } from "@tunesmith/core";
import { quote, SafetensorsError } from "./errors.ts";

/**
 * Opens a file by a name that must be a plain name inside a folder. Nothing outside the folder is ever
 * opened: no separators, no `..`, no drive, no case tricks, no symbolic link out. A link is followed where
 * it is a Hugging Face Hub cache's own: from `snapshots/*` into the same repository's `blobs`.
 *
 * @param folder - the folder; may itself be reached through links
 * @param name - one of the folder's entries, spelt exactly so
 * @throws {@link SafetensorsError} `PATH_NOT_PLAIN`, `PATH_OUTSIDE`, `FILE_NOT_IN_FOLDER`
 * @throws InputError `FILE_MISSING` if the entry is not a regular file
 */
export async function openInside(files: Files, folder: string, name: string): Promise<FileSource> {
  checkPlainName(name, folder);
  if (!(await files.list(folder)).includes(name)) {
    const message = `${folder} has no file ${quote(name)}`;
    const fix = "download the missing file, spelt exactly so (upper and lower case count)";
    throw new SafetensorsError("FILE_NOT_IN_FOLDER", message, { path: folder, expected: name, fix });
  }
  const path = files.join(folder, name);
  if (files.realPath) await checkRealPath(await files.realPath(folder), await files.realPath(path), name);
  return files.open(path);
}

/** @throws {@link SafetensorsError} `PATH_NOT_PLAIN` */
export function checkPlainName(name: string, folder: string): void {
  // \p{Cc}: NUL ends a path early in C libraries; ":" is a drive or an alternate stream on Windows
  const plain = name !== "" && name !== "." && name !== ".." && !/[/\\:\p{Cc}]/u.test(name);
  if (plain) return;
  const message = `${folder}: ${quote(name)} is not a plain file name`;
  const fix = "do not use this model: its index tries to name a file elsewhere, or is damaged";
  throw new SafetensorsError("PATH_NOT_PLAIN", message, {
    path: folder,
    received: name,
    expected: "a name without a path",
    fix,
  });
}

function checkRealPath(folder: string, file: string, name: string): void {
  const inFolder = parts(folder);
  const inFile = parts(file);
  const parent = inFile.slice(0, -1);
  if (same(parent, inFolder)) return;
  const isSnapshot = inFolder.at(-2) === "snapshots";
  if (isSnapshot && same(parent, [...inFolder.slice(0, -2), "blobs"])) return;
  const message = `${folder}: ${quote(name)} is a link that leads out of the folder, to ${file}`;
  throw new SafetensorsError("PATH_OUTSIDE", message, {
    path: folder,
    received: file,
    fix: "copy the file into the folder",
  });
}

/** Components; a backslash separates only where paths are not POSIX ones. */
function parts(path: string): string[] {
  return path.split(path.startsWith("/") ? "/" : /[/\\]/);
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((part, i) => part === b[i]);
}
