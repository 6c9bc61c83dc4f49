// What a run leaves behind that must not depend on how often it was stopped.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { EVENT_FILE } from "../../apps/cli/src/tensorboard/event-file.ts";
import { recordEnds } from "../../apps/cli/src/tensorboard/tf-record.ts";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const json = (bytes: Uint8Array): Record<string, unknown> =>
  JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;

/**
 * @param files - of the run folder, by path with `/`
 * @returns by path: SHA-256 of adapters, optimizers and pointers; the log without `timing`; states without the log's length,
 * which depends on the digits of times; where TensorBoard's records end, since they hold times
 */
export function runOutcome(files: ReadonlyMap<string, Uint8Array>): Record<string, unknown> {
  const outcome: Record<string, unknown> = {};
  for (const [path, bytes] of files) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (name === "manifest.json") outcome[path] = "holds the hash of state.json";
    else if (name === "state.json") outcome[path] = { ...json(bytes), metrics_bytes: undefined };
    else if (name === EVENT_FILE) outcome[path] = { records: recordEnds(bytes) };
    else if (name === "metrics.jsonl")
      outcome[path] = new TextDecoder()
        .decode(bytes)
        .trimEnd()
        .split("\n")
        .map((line) => ({ ...(JSON.parse(line) as object), timing: undefined }));
    else outcome[path] = sha256(bytes);
  }
  return outcome;
}

/** All files of a folder, by path with `/`. */
export function filesOf(folder: string): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    found.set(relative(folder, path).split(sep).join("/"), readFileSync(path));
  }
  return found;
}
