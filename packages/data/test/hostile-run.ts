// Renders templates in child processes, because only a process of its own has a memory that can be measured.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

/** What one child said. */
export interface Verdict {
  /** an error code, or RENDERED */
  readonly code: string;
  readonly message?: string;
  readonly length?: number;
  /** milliseconds from source to text */
  readonly wall: number;
  readonly cpu: number;
  /** bytes of resident memory beyond what the process had before */
  readonly grown: number;
}

/** A child program in one file, made from the sources. */
export async function bundleChild(): Promise<{ run(template: string): Promise<Verdict>; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-hostile-"));
  const entry = fileURLToPath(new URL("hostile-child.ts", import.meta.url));
  const built = await build({
    configFile: false,
    logLevel: "silent",
    ssr: { noExternal: true, resolve: { conditions: ["@tunesmith/source", "node"] } },
    build: { ssr: entry, write: false, target: "node20", rolldownOptions: { output: { codeSplitting: false } } },
  });
  const [{ output }] = (Array.isArray(built) ? built : [built]) as [{ output: { type: string; code: string }[] }];
  const file = join(folder, "child.mjs");
  await writeFile(file, output.find((chunk) => chunk.type === "chunk")!.code);
  return { run: (template) => runChild(file, template), remove: () => rm(folder, { recursive: true }) };
}

function runChild(file: string, template: string): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [file], { stdio: ["pipe", "pipe", "pipe"], timeout: 60_000 });
    let out = "";
    let err = "";
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0 && out !== "") resolve(JSON.parse(out) as Verdict);
      else reject(new Error(`the child ended with ${code ?? signal}: ${err.slice(0, 500)}`));
    });
    child.stdin.on("error", () => {}); // a child that died has said so already
    child.stdin.end(template);
  });
}
