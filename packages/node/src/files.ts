// `Files` on node:fs. Paths use the platform's separator.

import { randomBytes } from "node:crypto";
import { access, type FileHandle, mkdir, open, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Files, type FileSource, InputError } from "@tunesmith/core";

/** Files of the local disk. */
export function nodeFiles(): Files {
  return { open: openFile, exists, list, writeAtomic, join, realPath };
}

async function openFile(path: string): Promise<FileSource> {
  let handle: FileHandle;
  try {
    // asked before opening: opening a FIFO would wait for a writer
    if (!(await stat(path)).isFile()) {
      throw new InputError("FILE_MISSING", `${path}: not a regular file`, { path, expected: "a regular file" });
    }
    handle = await open(path, "r");
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
  handle: FileHandle,
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

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function list(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (cause) {
    throw asInputError(cause, path);
  }
}

async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (cause) {
    throw asInputError(cause, path);
  }
}

// Readers see the old file or the new one, never a part: write beside, sync, rename, sync the folder. Missing folders
// are made.
async function writeAtomic(path: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    const handle = await open(temporary, "wx");
    try {
      for await (const chunk of chunks) {
        for (let done = 0; done < chunk.length;)
          done += (await handle.write(chunk, done, Math.min(chunk.length - done, 2 ** 30))).bytesWritten;
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(folder);
}

/** Makes the rename itself durable, where a folder can be opened and synced (not on Windows). */
async function syncFolder(folder: string): Promise<void> {
  let handle: FileHandle;
  try {
    handle = await open(folder, "r");
  } catch {
    return;
  }
  try {
    await handle.sync();
  } catch (error) {
    if (!["EPERM", "EINVAL", "EISDIR", "EBADF", "ENOTSUP"].includes((error as NodeJS.ErrnoException).code ?? ""))
      throw error;
  } finally {
    await handle.close();
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
