import { readFile } from "node:fs/promises";
import { InputError } from "@tunesmith/core";

/**
 * A small file whole.
 * @param shown - the path as the user gave it, for errors
 * @throws InputError `FILE_MISSING` or `FILE_UNREADABLE`
 */
export async function readSmallFile(file: string, shown: string = file): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const details = { path: shown, cause };
    if (code === "ENOENT" || code === "ENOTDIR")
      throw new InputError("FILE_MISSING", `${shown}: there is no such file`, { ...details, fix: "check the path" });
    if (code === "EISDIR")
      throw new InputError("FILE_UNREADABLE", `${shown} is a folder, expected a file`, {
        ...details,
        fix: "name the file itself",
      });
    throw cause;
  }
}

/**
 * A small UTF-8 file whole.
 * @throws InputError `UTF8_INVALID`, and what {@link readSmallFile} throws
 */
export async function readTextFile(file: string, shown: string = file): Promise<string> {
  const bytes = await readSmallFile(file, shown);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new InputError("UTF8_INVALID", `${shown}: the file is not UTF-8 text`, {
      path: shown,
      cause,
      fix: "save the file as UTF-8",
    });
  }
}
