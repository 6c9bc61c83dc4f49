// The command line in process: words in, exit code and both streams out; and folders to run it in.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { ErrorJson } from "@tunesmith/core";
import { afterAll } from "vitest";
import { cli } from "../../apps/cli/src/cli.ts";

/** Any of the documents of docs/cli.md. */
export interface CliDocument {
  readonly error: ErrorJson;
  readonly [key: string]: unknown;
}

/** What a command line did. */
export interface CliResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** stdout as the one JSON document that `--json` promises; throws if it is anything else */
  document(): CliDocument;
}

export async function runCli(
  argv: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<CliResult> {
  let stdout = "";
  let stderr = "";
  const exitCode = await cli(argv, {
    cwd: options.cwd ?? process.cwd(),
    env: options.env ?? {},
    version: "0.0.0-test",
    signal: options.signal ?? new AbortController().signal,
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
  });
  return { exitCode, stdout, stderr, document: () => JSON.parse(stdout) as CliDocument };
}

const folders: string[] = [];

/** A new folder with these files (text or bytes by relative path); removed when the test file ends. */
export function folderWith(files: Readonly<Record<string, string | Uint8Array>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "tunesmith-cli-"));
  folders.push(folder);
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  return folder;
}

afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});
