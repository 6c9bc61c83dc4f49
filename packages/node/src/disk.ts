// What our files ask of the operating system, call by call: a part of node:fs/promises. Tests put a disk with faults in
// its place.

import { lstat, mkdir, open, readdir, realpath, rename, rmdir, stat, statfs, unlink } from "node:fs/promises";

/** An open file. */
export interface DiskFile {
  stat(): Promise<{ readonly size: number }>;
  read(bytes: Uint8Array, at: number, length: number, position: number): Promise<{ bytesRead: number }>;
  write(bytes: Uint8Array, at: number, length: number): Promise<{ bytesWritten: number }>;
  /** settles when what was written outlives a loss of power; of a folder: the names in it */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Errors are Node's, with a `code` as `ENOENT`. */
export interface Disk {
  /** @param flags - r: read; wx: make and write; a: add at the end */
  open(path: string, flags: "r" | "wx" | "a"): Promise<DiskFile>;
  stat(path: string): Promise<{ isFile(): boolean; isDirectory(): boolean; readonly size: number }>;
  /** of a link itself */
  lstat(path: string): Promise<{ isFile(): boolean; isDirectory(): boolean }>;
  readdir(path: string): Promise<string[]>;
  realpath(path: string): Promise<string>;
  mkdir(path: string): Promise<unknown>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  statfs(path: string): Promise<{ readonly bavail: number; readonly bsize: number }>;
}

/** The disk of this computer. */
export const nodeDisk: Disk = { lstat, mkdir, open, readdir, realpath, rename, rmdir, stat, statfs, unlink };
