// stages.json: what the finished stages of a run have left, and with which settings.

import { type Files, parseStrictJson } from "@tunesmith/core";
import { sha256 } from "@tunesmith/data";
import { readText } from "@tunesmith/sft";
import { parse } from "yaml";
import { type ResolvedConfig, resolvedConfigText } from "../config/load.ts";
import { CliError } from "../errors.ts";
import type { TunedKind } from "../tuned-folder.ts";

const FORMAT_VERSION = 1;
const STAGES_FILE = "stages.json";

/** A stage that is through. Paths are relative to the folder of all stages, with `/`. */
export interface FinishedStage {
  readonly name: string;
  readonly method: string;
  /** the base it started from, absolute */
  readonly model: string;
  readonly kind: TunedKind;
  /** the checkpoint of its last step, with everything in it */
  readonly last: string;
  /** the folder of the state that it hands over */
  readonly state: string;
  readonly steps: number;
  /** updates that the moments in `last` have seen */
  readonly updates: number;
  /** SHA-256 of what its numbers depended on, without files */
  readonly settings: string;
}

export async function readStages(files: Files, output: string): Promise<readonly FinishedStage[]> {
  const path = files.join(output, STAGES_FILE);
  if (!(await files.exists(path))) return [];
  const text = await readText(files, path);
  parseStrictJson(text, { path });
  const { format_version: version, stages } = JSON.parse(text) as { format_version: number; stages: FinishedStage[] };
  if (version === FORMAT_VERSION) return stages;
  throw new CliError("INPUT_INVALID", `${path}: format_version ${version}`, {
    path,
    received: String(version),
    expected: String(FORMAT_VERSION),
    fix: "go on with the version of tunesmith that wrote it",
  });
}

export function writeStages(files: Files, output: string, stages: readonly FinishedStage[]): Promise<void> {
  const text = `${JSON.stringify({ format_version: FORMAT_VERSION, stages }, null, 2)}\n`;
  return files.writeAtomic(files.join(output, STAGES_FILE), [new TextEncoder().encode(text)]);
}

/** Keys of a config that may change between a run and its resumption. */
const FREE = ["model", "output", "path", "cache", "workers", "init_from", "memory_budget", "checkpoint", "logging"];

/** What the numbers of a stage depend on, but for its files: of a config and of what was resolved from it the same. */
export function settingsOf(config: ResolvedConfig): Promise<string> {
  const text = JSON.stringify(parse(resolvedConfigText(config)), (key, value: unknown) =>
    FREE.includes(key) ? undefined : isMap(value) ? Object.fromEntries(Object.entries(value).sort()) : value,
  );
  return sha256(new TextEncoder().encode(text));
}

function isMap(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
