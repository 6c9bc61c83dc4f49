// The only way our packages touch files. `@tunesmith/node` implements it on node:fs; a browser can
// implement it on File objects or fetch ranges; tests implement it on a Map.

/** One open file, read by byte range. */
export interface FileSource {
  /** shown in errors */
  readonly path: string;
  /** bytes */
  readonly size: number;
  /**
   * Reads `length` bytes from `offset`.
   * @throws InputError `FILE_UNREADABLE` if the range lies outside the file or the read comes up short
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Files by path. Paths use `/` or the platform's separator; `join` builds them. */
export interface Files {
  /** @throws InputError `FILE_MISSING` if there is no regular file at `path` */
  open(path: string): Promise<FileSource>;
  exists(path: string): Promise<boolean>;
  /** Names (not paths) of the entries of a folder, sorted. */
  list(path: string): Promise<string[]>;
  /** Writes all chunks to a temporary file beside `path`, syncs it, and renames it over `path`. */
  writeAtomic(path: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void>;
  join(...parts: string[]): string;
  /**
   * The path with every symbolic link in it resolved. Required wherever links can exist: without it nobody
   * can tell that a plain name leads out of its folder. Left out where there are none (browser, memory).
   * @throws InputError `FILE_MISSING` if there is nothing at `path`
   */
  realPath?(path: string): Promise<string>;
}
