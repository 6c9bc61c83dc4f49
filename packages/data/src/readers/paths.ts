// What a config may write where rows come from: a file, a folder, a glob, or a list of these. The order is the list's,
// and within a folder or a glob that of the names by code units: the same on every computer.

import { type Files, isTunesmithError } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import { fileFormatOf } from "./read-rows.ts";

/** Folders in folders; a link that leads to its own parent ends here. */
const MAX_DEPTH = 32;
const GLOB = /[*?[]/;
const SEPARATOR = /[/\\]/;

/**
 * The files that are meant.
 *
 * A folder means every file in it and below it; names that start with `.` or `_` are left out, and a name that does not
 * tell its file format is an error. In a glob `*` and `?` stay within a name, `**` spans folders, `[a-z]` is a choice of
 * characters; a path that exists is never taken for a glob.
 *
 * @throws DataError `PATH_UNMATCHED` for a glob or folder without files and for a file named twice,
 *   `FILE_FORMAT_UNKNOWN` for a foreign file in a folder; InputError `FILE_MISSING`
 */
export async function expandPaths(files: Files, path: string | readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const one of typeof path === "string" ? [path] : path) found.push(...(await expandOne(files, one)));
  const twice = found.find((name, i) => found.indexOf(name) !== i);
  if (twice !== undefined)
    throw new DataError("PATH_UNMATCHED", `${twice}: the file is named twice`, {
      path: twice,
      expected: "every file once",
      fix: "remove it from the list, or make the patterns disjoint",
    });
  return found;
}

async function expandOne(files: Files, path: string): Promise<string[]> {
  const names = await listOf(files, path);
  if (names !== undefined) return folderFiles(files, path, names);
  if (!GLOB.test(path) || (await files.exists(path))) return [path];
  const parts = path.split(SEPARATOR);
  const first = parts.findIndex((part) => GLOB.test(part));
  const separator = SEPARATOR.exec(path)?.[0] ?? "/";
  const base = parts.slice(0, first).join(separator);
  const root = first === 0 ? "." : base === "" ? separator : base;
  const matched: string[] = [];
  await walk(files, root, first === 0 ? "" : root, parts.slice(first), matched, 0);
  const sorted = [...new Set(matched)].sort(byCodeUnits);
  if (sorted.length > 0) return sorted;
  throw new DataError("PATH_UNMATCHED", `${path}: no file matches`, {
    path,
    expected: "at least one file",
    received: (await listOf(files, root)) === undefined ? `there is no folder ${root}` : "none",
    fix: "check the pattern; relative paths start at the config file",
  });
}

/** Names in a folder, undefined for what is none. */
async function listOf(files: Files, path: string): Promise<string[] | undefined> {
  try {
    return await files.list(path);
  } catch (error) {
    if (isTunesmithError(error) && (error.code === "FILE_MISSING" || error.code === "FILE_UNREADABLE"))
      return undefined;
    throw error;
  }
}

async function walk(
  files: Files,
  folder: string,
  shown: string,
  pattern: readonly string[],
  matched: string[],
  depth: number,
): Promise<void> {
  const names = await listOf(files, folder);
  if (names === undefined || depth > MAX_DEPTH) return;
  const [part, ...rest] = pattern as [string, ...string[]];
  const deep = part === "**";
  if (deep && rest.length > 0) await walk(files, folder, shown, rest, matched, depth + 1);
  const matches = deep ? /^[^.]/ : nameMatcher(part);
  for (const name of names) {
    if (!matches.test(name) || (name.startsWith(".") && !part.startsWith("."))) continue;
    const path = shown === "" ? name : files.join(shown, name);
    const next = deep ? pattern : rest;
    const inner = await listOf(files, path);
    if (inner !== undefined) {
      if (next.length > 0) await walk(files, path, path, next, matched, depth + 1);
    } else if (deep ? rest.length === 0 : rest.length === 0) matched.push(path);
  }
}

/** One name of a glob as a regular expression. */
function nameMatcher(part: string): RegExp {
  const source = part.replace(/\[(!?)([^\]]+)\]|[*?]|[\\^$.|+(){}[\]]/g, (found, not: string, set: string) => {
    if (found === "*") return ".*";
    if (found === "?") return ".";
    if (set !== undefined) return `[${not === "" ? "" : "^"}${set.replaceAll(/[\\^\]]/g, String.raw`\$&`)}]`;
    return `\\${found}`;
  });
  return new RegExp(`^${source}$`, "su");
}

async function folderFiles(files: Files, folder: string, names: readonly string[], depth = 0): Promise<string[]> {
  const out: string[] = [];
  for (const name of [...names].sort(byCodeUnits)) {
    if (name.startsWith(".") || name.startsWith("_")) continue;
    const path = files.join(folder, name);
    const inner = depth > MAX_DEPTH ? undefined : await listOf(files, path);
    if (inner !== undefined) {
      if (inner.length > 0) out.push(...(await folderFiles(files, path, inner, depth + 1)));
      continue;
    }
    if (fileFormatOf(name) === undefined)
      throw new DataError("FILE_FORMAT_UNKNOWN", `${path}: a folder of data holds a file that is none by its name`, {
        path,
        expected: "data files alone",
        received: name,
        fix: `name the files with a pattern, for example ${files.join(folder, "*.jsonl")}`,
      });
    out.push(path);
  }
  if (depth > 0 || out.length > 0) return out;
  throw new DataError("PATH_UNMATCHED", `${folder}: the folder holds no data`, {
    path: folder,
    expected: "at least one file",
    fix: "check the path",
  });
}

function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
