// Files on a Map, with the shape of @tunesmith/core's `Files` but without importing it. It keeps that
// interface's promises strictly: short reads fail, and an interrupted write leaves the old content.

/** What was done to a {@link MemoryFiles}, in order. */
export interface MemoryFilesLog {
  readonly opened: string[];
  readonly closed: string[];
  readonly reads: { path: string; offset: number; length: number }[];
}

export interface MemoryFiles {
  /** path → content; tests may look and change */
  readonly contents: Map<string, Uint8Array>;
  readonly log: MemoryFilesLog;
  open(path: string): Promise<{
    readonly path: string;
    readonly size: number;
    read(offset: number, length: number): Promise<Uint8Array>;
    close(): Promise<void>;
  }>;
  exists(path: string): Promise<boolean>;
  list(path: string): Promise<string[]>;
  writeAtomic(path: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void>;
  join(...parts: string[]): string;
}

/** An error as `InputError` looks from outside. */
function failure(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

/** @param initial - paths (with `/`) and contents */
export function memoryFiles(initial: Iterable<readonly [string, Uint8Array]> = []): MemoryFiles {
  const contents = new Map(initial);
  const log: MemoryFilesLog = { opened: [], closed: [], reads: [] };
  return {
    contents,
    log,
    async open(path) {
      const bytes = contents.get(path);
      if (!bytes) throw failure("FILE_MISSING", `no file ${path}`);
      log.opened.push(path);
      return {
        path,
        size: bytes.length,
        async read(offset, length) {
          log.reads.push({ path, offset, length });
          if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length)) {
            throw failure("FILE_UNREADABLE", `${path}: no bytes ${offset} to ${offset + length} of ${bytes.length}`);
          }
          return new Uint8Array(bytes.subarray(offset, offset + length)); // a Node Buffer's slice() does not copy
        },
        async close() {
          log.closed.push(path);
        },
      };
    },
    async exists(path) {
      return contents.has(path);
    },
    async list(path) {
      const prefix = path.endsWith("/") ? path : `${path}/`;
      const names = new Set<string>();
      for (const file of contents.keys())
        if (file.startsWith(prefix)) names.add(file.slice(prefix.length).split("/")[0]!);
      return [...names].sort();
    },
    async writeAtomic(path, chunks) {
      const parts: Uint8Array[] = [];
      for await (const chunk of chunks) parts.push(new Uint8Array(chunk));
      const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
      let at = 0;
      for (const part of parts) {
        bytes.set(part, at);
        at += part.length;
      }
      contents.set(path, bytes); // only now: a failing iterator leaves what was there
    },
    join: (...parts) => parts.join("/"),
  };
}
