// Writing that survives a kill and a loss of power: a file is there whole or not at all, and once a call has returned, what
// it made is on the disk, the folders around it included.

import { randomBytes } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { InputError } from "@tunesmith/core";
import type { Disk, DiskFile } from "./disk.ts";

const BLOCK = 2 ** 30;

/**
 * Readers see the old file or the new one, never a part: write beside, sync, rename, sync the folder. Missing folders are
 * made.
 * @throws InputError `FILE_UNREADABLE` where the disk took fewer bytes than it said
 */
export async function writeAtomic(
  disk: Disk,
  path: string,
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const folder = dirname(path);
  await makeFolder(disk, folder);
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    const handle = await disk.open(temporary, "wx");
    try {
      let bytes = 0;
      for await (const chunk of chunks) {
        await writeWhole(handle, chunk);
        bytes += chunk.length;
      }
      await checkSize(handle, path, bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await disk.rename(temporary, path);
  } catch (error) {
    await disk.unlink(temporary).catch(() => {}); // the first error tells the story
    throw error;
  }
  await syncFolder(disk, folder);
}

/** A file that grows, as a log does. */
export interface AppendFile {
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Settles when all that was written is on the disk.
   * @returns bytes so far
   * @throws InputError `FILE_UNREADABLE` where the disk took fewer bytes than it said
   */
  sync(): Promise<number>;
  close(): Promise<void>;
}

/** Opens a file to add to; it is made where it is missing. */
export async function appendTo(disk: Disk, path: string): Promise<AppendFile> {
  const folder = dirname(path);
  await makeFolder(disk, folder);
  const handle = await disk.open(path, "a");
  let { size } = await handle.stat();
  await syncFolder(disk, folder);
  return {
    write: async (bytes) => {
      await writeWhole(handle, bytes);
      size += bytes.length;
    },
    sync: async () => {
      await checkSize(handle, path, size);
      await handle.sync();
      return size;
    },
    close: () => handle.close(),
  };
}

async function checkSize(handle: DiskFile, path: string, bytes: number): Promise<void> {
  const { size } = await handle.stat();
  if (size === bytes) return;
  throw new InputError("FILE_UNREADABLE", `${path}: the disk took ${size} of ${bytes} bytes without an error`, {
    path,
    expected: `${bytes} bytes`,
    received: `${size} bytes`,
    fix: "check the disk; what was saved before is unchanged",
  });
}

/** Makes a folder and those above it. */
export async function makeFolder(disk: Disk, path: string): Promise<void> {
  if (await isFolder(disk, path)) return;
  const parent = dirname(path);
  if (parent !== path) await makeFolder(disk, parent);
  await disk.mkdir(path).catch(async (error: unknown) => {
    if (!(await isFolder(disk, path))) throw error; // else another process was faster
  });
  await syncFolder(disk, parent);
}

/** Removes a file or a folder with all in it, links as links; where there is nothing, nothing happens. */
export async function remove(disk: Disk, path: string): Promise<void> {
  const absent = (error: NodeJS.ErrnoException): undefined => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw error;
  };
  const found = await disk.lstat(path).catch(absent);
  if (found === undefined) return;
  if (!found.isDirectory()) return void (await disk.unlink(path).catch(absent));
  for (const name of (await disk.readdir(path).catch(absent)) ?? []) await remove(disk, join(path, name));
  await disk.rmdir(path).catch(absent);
}

async function isFolder(disk: Disk, path: string): Promise<boolean> {
  return disk.stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** One write may take less than it was given. */
async function writeWhole(handle: DiskFile, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;)
    done += (await handle.write(bytes, done, Math.min(bytes.length - done, BLOCK))).bytesWritten;
}

/** What systems say where a folder cannot be opened or synced, as on Windows. */
const NO_FOLDER_SYNC = ["EPERM", "EACCES", "EINVAL", "EISDIR", "EBADF", "ENOTSUP"];

/** Makes the names in a folder durable, where the system can. */
async function syncFolder(disk: Disk, folder: string): Promise<void> {
  try {
    const handle = await disk.open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!NO_FOLDER_SYNC.includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}
