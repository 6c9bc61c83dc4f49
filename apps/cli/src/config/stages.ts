// `stages` of a config file: runs one after the other. Each is a config of its own, which comes about by laying the sections
// of a stage over those of the file.

import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { readTextFile } from "../read-file.ts";
import { KEYS_FROM_ADAPTER } from "./init-from.ts";
import { checkConfig, type LoadedConfig, throwFirst } from "./load.ts";
import type { Problem } from "./problem.ts";
import { COMPUTED_STARTS, EITHER_OR } from "./rules.ts";
import { type ConfigSource, type KeyPath, readConfigSource, valueAt } from "./source.ts";
import { stageSchema } from "./schema.ts";
import { problemsOf } from "./validate.ts";

/** How an adapter of the stage before is taken over; `none`: it left no adapter. */
export type AdapterHandOver = "continue" | "merge" | "none";

/** What makes a run a stage. */
export interface Stage {
  /** also its folder in that of the run */
  readonly name: string;
  /** from 0 */
  readonly index: number;
  /** the folder of all stages */
  readonly output: string;
  readonly adapter: AdapterHandOver;
  readonly optimizerState: "new" | "keep";
}

/** One run of a config file. */
export interface ConfiguredRun extends LoadedConfig {
  /** absent where the file has no stages and is this run */
  readonly stage?: Stage;
}

/** Sections that a stage changes key by key, and those that it replaces. */
const KEY_BY_KEY = ["data", "train", "regularize", "eval", "logging", "checkpoint", "gates"];
const WHOLE = ["preset", "tune", "probe", "sample", "keep"];
export const SECTIONS: readonly string[] = [...KEY_BY_KEY, ...WHOLE];

type Written = Readonly<Record<string, unknown>>;

/**
 * The runs of a config file: its stages in their order, or the one that it is.
 * @throws what `loadConfig` throws
 */
export async function loadRuns(
  path: string,
  options: { cwd: string; sets?: readonly string[] },
): Promise<readonly [ConfiguredRun, ...ConfiguredRun[]]> {
  const file = resolve(options.cwd, path);
  const source = readConfigSource(await readTextFile(file, path), { path, sets: options.sets ?? [] });
  if (valueAt(source.value, ["stages"]) === undefined) return [checkConfig(source, dirname(file))];
  return checkStages(source, dirname(file));
}

/** @param folder - where relative paths of the config start */
export function checkStages(source: ConfigSource, folder: string): readonly [ConfiguredRun, ...ConfiguredRun[]] {
  const root = source.value as Written;
  const parsed = z.object({ stages: z.array(stageSchema).min(1) }).safeParse({ stages: root["stages"] });
  if (!parsed.success)
    return throwFirst(
      parsed.error.issues.flatMap((issue) => problemsOf(issue, root)),
      source,
    );
  const written = root["stages"] as readonly Written[];
  const runs: ConfiguredRun[] = [];
  const problems: Problem[] = [];
  for (const [index, { name, adapter, optimizer_state: optimizerState }] of parsed.data.stages.entries()) {
    const loaded = checkConfig(sourceOf(source, index), folder);
    const { output } = loaded.config;
    const before = runs.at(-1);
    const handOver = { adapter: adapter ?? adapterOf(loaded, before), optimizerState };
    const stage = { name, index, output, ...handOver };
    const asWritten = { ...loaded, config: { ...loaded.config, output: join(output, name) }, stage };
    const run = before && handOver.adapter === "continue" ? goingOn(asWritten, before, problems) : asWritten;
    const { init_lora_weights: start } = run.config.tune;
    if (COMPUTED_STARTS.includes(start))
      problems.push({
        code: "NOT_SUPPORTED",
        key: loaded.source.at(["tune", "init_lora_weights"]),
        message: `is ${start}, which stages do not have yet`,
        fix: "use default or gaussian, or a config without stages",
      });
    const same = runs.findIndex(({ stage }) => stage!.name === name);
    if (same >= 0) problems.push(conflict(index, "name", `is ${name}, as that of stage ${same}`, "name it otherwise"));
    if (before) problems.push(...handOverProblems(run, before));
    else
      for (const key of ["adapter", "optimizer_state"])
        if (key in written[index]!)
          problems.push(
            conflict(index, key, "has no effect on the first stage", "remove it; tune.init_from starts it"),
          );
    runs.push(run);
  }
  if (problems.length > 0) return throwFirst(problems, source);
  return runs as [ConfiguredRun, ...ConfiguredRun[]];
}

/** A stage that trains the adapter of the one before: what the adapter is, it is already. */
function goingOn(run: ConfiguredRun, before: ConfiguredRun, problems: Problem[]): ConfiguredRun {
  const [own, theirs] = [run.config.tune, before.config.tune];
  if (theirs.init_from !== null) return run; // its file will tell
  for (const key of KEYS_FROM_ADAPTER)
    if (run.written(["tune", key]) && JSON.stringify(own[key]) !== JSON.stringify(theirs[key]))
      problems.push({
        code: "CONFIG_CONFLICT",
        key: run.source.at(["tune", key]),
        message: `is ${JSON.stringify(own[key])}, and the adapter that goes on has ${JSON.stringify(theirs[key])}`,
        fix: `remove it, or use adapter: merge`,
      });
  const taken = Object.fromEntries(KEYS_FROM_ADAPTER.map((key) => [key, theirs[key]])) as Partial<typeof own>;
  const isTaken = ([section, key]: KeyPath): boolean =>
    section === "tune" && (KEYS_FROM_ADAPTER as readonly unknown[]).includes(key);
  return {
    ...run,
    config: { ...run.config, tune: { ...own, ...taken } },
    written: (key) => !isTaken(key) && run.written(key),
  };
}

const trainsAdapter = ({ config }: LoadedConfig): boolean => ["lora", "qlora"].includes(config.tune.method);

function adapterOf(run: LoadedConfig, before: LoadedConfig | undefined): AdapterHandOver {
  if (!before || !trainsAdapter(before)) return "none";
  return trainsAdapter(run) ? "continue" : "merge";
}

function* handOverProblems(run: ConfiguredRun, before: ConfiguredRun): Generator<Problem> {
  const { index, adapter, optimizerState } = run.stage!;
  const [own, others] = [run.config, before.config];
  const { method } = own.tune;
  if ((adapter === "none") !== !trainsAdapter(before))
    yield conflict(index, "adapter", `has no effect: the stage before is ${others.tune.method}`, "remove it");
  if (adapter === "continue" && !trainsAdapter(run))
    yield conflict(index, "adapter", `is continue, and the method is ${method}`, "use adapter: merge");
  if (adapter === "continue" && own.tune.init_from !== null)
    yield conflict(index, "adapter", "is continue, and tune.init_from names another adapter", "remove one of the two");
  if (optimizerState === "new") return;
  const because =
    others.keep === "best"
      ? "the stage before hands over its best state, whose moments are not there"
      : own.train.optimizer !== others.train.optimizer
        ? `the stage before has the optimizer ${others.train.optimizer}`
        : adapter === "merge" || (adapter === "none" && trainsAdapter(run))
          ? "another set of parameters trains"
          : JSON.stringify([method, own.tune.unfreeze]) !==
                JSON.stringify([others.tune.method, others.tune.unfreeze]) && adapter !== "continue"
            ? "another set of weights trains"
            : undefined;
  if (because !== undefined)
    yield conflict(index, "optimizer_state", `is keep, and ${because}`, "use optimizer_state: new");
}

function conflict(stage: number, key: string, message: string, fix: string): Problem {
  return { code: "CONFIG_CONFLICT", key: ["stages", stage, key], message, fix };
}

/** The config of one stage as if it had been written so, with the place where each of its keys is. */
function sourceOf(source: ConfigSource, index: number): ConfigSource {
  const { stages, ...file } = source.value as Written & { readonly stages: readonly Written[] };
  const stage = stages[index]!;
  const value: Record<string, unknown> = { ...file };
  for (const key of KEY_BY_KEY) if (key in stage) value[key] = laidOver(key, file[key], stage[key]);
  for (const key of WHOLE) if (key in stage) value[key] = stage[key];
  const at = (key: KeyPath): KeyPath => {
    const [section] = key;
    const inStage =
      valueAt(stage, key) !== undefined ||
      (section !== undefined &&
        section in stage &&
        (WHOLE.includes(String(section)) || valueAt(file, key) === undefined));
    return inStage ? ["stages", index, ...key] : key;
  };
  return {
    path: source.path,
    value,
    at,
    setBy: (key) => source.setBy(at(key)),
    lineOf: (key) => source.lineOf(at(key)),
  };
}

/** A section with some of its keys written anew; a key that another one stands in for goes. */
function laidOver(section: string, below: unknown, above: unknown): unknown {
  if (!isMap(below) || !isMap(above)) return above;
  const replaced = new Set<string>();
  for (const [[home, a], [, b]] of EITHER_OR as readonly (readonly [[string, string], [string, string]])[]) {
    if (home !== section) continue;
    if (a in above) replaced.add(b);
    if (b in above) replaced.add(a);
  }
  const kept = Object.entries(below).filter(([key]) => !replaced.has(key));
  return { ...Object.fromEntries(kept), ...above };
}

function isMap(value: unknown): value is Written {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
