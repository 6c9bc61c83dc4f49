import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { CliError } from "./errors.ts";

/**
 * Makes a folder whole or not at all: it is filled under another name beside its place, and renamed at the end.
 * @throws CliError `OUTPUT_EXISTS` if there is something at `path` already, before anything is written
 */
export async function newFolder<T>(path: string, fill: (folder: string) => Promise<T>): Promise<T> {
  await checkFree(path);
  await mkdir(dirname(path), { recursive: true });
  const temporary = await mkdtemp(join(dirname(path), `.${basename(path)}-`));
  try {
    const result = await fill(temporary);
    await rm(path, { recursive: true, force: true }); // an empty folder, which Windows does not rename over
    await rename(temporary, path);
    return result;
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

/** @throws CliError `OUTPUT_EXISTS` */
export async function checkFree(path: string): Promise<void> {
  const names = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  if (names.length > 0)
    throw new CliError("OUTPUT_EXISTS", `${path} exists and is not empty`, { path, fix: "choose another --out" });
}
