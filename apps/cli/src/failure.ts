// Turns whatever was thrown into what a person or a script reads: one error document, or a few lines of text.

import { BugError, isTunesmithError } from "@tunesmith/core";
import type { TunesmithError } from "@tunesmith/core";
import { CliError } from "./errors.ts";

/** What to do about a refusal of the operating system. Anything else it may say is shown as it is. */
const SYSTEM_FIXES: Readonly<Record<string, string>> = {
  EACCES: "check the permissions of this path",
  EPERM: "check the permissions of this path",
  EROFS: "write to a file system that is not read-only",
  ENOSPC: "free some disk space and run the command again; what was complete before is still there",
  EDQUOT: "your disk quota is used up: free some space and run the command again",
  EMFILE: "raise the limit of open files (`ulimit -n`)",
  ENOENT: "check that this path exists",
  ENOTDIR: "a part of this path is a file where a folder was expected",
  EISDIR: "this is a folder where a file was expected",
  ENAMETOOLONG: "use a shorter path",
};

function isSystemError(error: unknown): error is NodeJS.ErrnoException & { code: string; syscall: string } {
  return error instanceof Error && "syscall" in error && "code" in error && typeof error.code === "string";
}

/** A typed error for anything thrown: ours as it is, the operating system's explained, all else a bug. */
export function typedError(error: unknown): TunesmithError {
  if (isTunesmithError(error)) return error;
  if (isSystemError(error)) {
    const reason = error.message.replace(/^[A-Z0-9_]+: /, "").replace(/, \w+(?: '.*')?$/, "");
    const fix = SYSTEM_FIXES[error.code];
    return new CliError("SYSTEM_ERROR", `${error.syscall}: ${reason} (${error.code})`, {
      cause: error,
      ...(error.path === undefined ? {} : { path: error.path }),
      ...(fix === undefined ? {} : { fix }),
    });
  }
  if (error instanceof Error && "code" in error && error.code === "ERR_DLOPEN_FAILED")
    return new CliError("DAWN_UNLOADABLE", `Node could not load a native module: ${error.message}`, {
      cause: error,
      fix: "run `tunesmith doctor`: it says what is missing and how to get it",
    });
  return new BugError(error instanceof Error ? error.message : String(error), { cause: error });
}

/** The text for stderr: code and message, what the message does not say yet, the fix. */
export function errorText(error: TunesmithError): string {
  const { path, line, expected, received, fix } = error.details;
  const lines = [`error ${error.code}: ${error.message}`];
  if (path !== undefined && !error.message.includes(path))
    lines.push(`  in: ${path}${line === undefined ? "" : `:${line}`}`);
  if (expected !== undefined && !error.message.includes(expected)) lines.push(`  expected: ${expected}`);
  if (received !== undefined && !error.message.includes(received)) lines.push(`  received: ${received}`);
  if (fix !== undefined) lines.push(`fix: ${fix}`);
  return `${lines.join("\n")}\n`;
}

/** The innermost stack, which is where a bug happened; for bugs only, and only when asked for. */
export function stackOf(error: unknown): string {
  let at = error;
  while (at instanceof Error && at.cause instanceof Error) at = at.cause;
  return at instanceof Error ? `${at.stack ?? at.message}\n` : "";
}
