// `Files` on node:fs, and what a folder that a program works in needs beyond it. Paths use the platform's separator.

import { dirname, join } from "node:path";
import { type Files, type FileSource, InputError } from "@tunesmith/core";
import { type Disk, type DiskFile, nodeDisk } from "./disk.ts";
import { type AppendFile, appendTo, remove, writeAtomic } from "./write-files.ts";

/** Files of a disk. */
export interface NodeFiles extends Files {
  /** Opens a file to add to; it is made where it is missing. */
  append(path: string): Promise<AppendFile>;
  /** Removes a file or a folder with all in it; where there is nothing, nothing happens. */
  remove(path: string): Promise<void>;
  /** Paths of all files below a folder, relative to it, with `/`, sorted. */
  tree(path: string): Promise<string[]>;
  /** Bytes that this user may still write where `path` is or would be. */
  freeBytes(path: string): Promise<number>;
}

/** @param disk - default: the disk of this computer */
export function nodeFiles(disk: Disk = nodeDisk): NodeFiles {
  return {
    open: (path) => openFile(disk, path),
    exists: (path) =>
      disk.stat(path).then(
        () => true,
        () => false,
      ),
    list: (path) => list(disk, path),
    writeAtomic: (path, chunks) => writeAtomic(disk, path, chunks),
    join,
    realPath: (path) => realPath(disk, path),
    append: (path) => appendTo(disk, path),
    remove: (path) => remove(disk, path),
    tree: (path) => tree(disk, path),
    freeBytes: (path) => freeBytes(disk, path),
  };
}

async function openFile(disk: Disk, path: string): Promise<FileSource> {
  let handle: DiskFile;
  try {
    // asked before opening: opening a FIFO would wait for a writer
    if (!(await disk.stat(path)).isFile()) {
      throw new InputError("FILE_MISSING", `${path}: not a regular file`, { path, expected: "a regular file" });
    }
    handle = await disk.open(path, "r");
  } catch (cause) {
    throw asInputError(cause, path);
  }
  const { size } = await handle.stat();
  return {
    path,
    size,
    read: (offset, length) => readRange(handle, { path, size, offset, length }),
    close: () => handle.close(),
  };
}

async function readRange(
  handle: DiskFile,
  { path, size, offset, length }: { path: string; size: number; offset: number; length: number },
): Promise<Uint8Array> {
  if (!(offset >= 0 && length >= 0 && offset + length <= size)) {
    throw new InputError("FILE_UNREADABLE", `${path}: bytes ${offset}…${offset + length} lie outside the file`, {
      path,
      expected: `a range within ${size} bytes`,
      received: `${length} bytes from ${offset}`,
    });
  }
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    // one read may return less than asked, and never more than 2 GiB
    const { bytesRead } = await handle.read(bytes, done, Math.min(length - done, 2 ** 30), offset + done);
    if (bytesRead === 0) {
      throw new InputError("FILE_UNREADABLE", `${path}: the file ended at byte ${offset + done} while being read`, {
        path,
        expected: `${size} bytes`,
        received: `${offset + done} bytes`,
        fix: "another program changed the file; try again",
      });
    }
    done += bytesRead;
  }
  return bytes;
}

async function list(disk: Disk, path: string): Promise<string[]> {
  try {
    return (await disk.readdir(path)).sort();
  } catch (cause) {
    throw asInputError(cause, path);
  }
}

async function realPath(disk: Disk, path: string): Promise<string> {
  try {
    return await disk.realpath(path);
  } catch (cause) {
    throw asInputError(cause, path);
  }
}

async function tree(disk: Disk, path: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await list(disk, path)) {
    const about = await disk.lstat(join(path, name));
    if (about.isFile()) found.push(name);
    else if (about.isDirectory())
      found.push(...(await tree(disk, join(path, name))).map((below) => `${name}/${below}`));
  }
  return found.sort();
}

async function freeBytes(disk: Disk, path: string): Promise<number> {
  try {
    const { bavail, bsize } = await disk.statfs(path);
    return bavail * bsize;
  } catch (error) {
    const parent = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || parent === path) throw error;
    return freeBytes(disk, parent);
  }
}

function asInputError(cause: unknown, path: string): unknown {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new InputError("FILE_MISSING", `${path}: there is no such file`, { path, fix: "check the path", cause });
  }
  if (code === "EACCES" || code === "EPERM" || code === "EISDIR" || code === "ELOOP") {
    return new InputError("FILE_UNREADABLE", `${path}: cannot be read (${code})`, {
      path,
      fix: "check the file's rights",
      cause,
    });
  }
  return cause;
}
