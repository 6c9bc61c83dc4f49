// A config file to a config that says everything: defaults in, precedence decided, paths absolute.

import { dirname, resolve } from "node:path";
import { stringify } from "yaml";
import { readTextFile } from "../read-file.ts";
import { KEYS_FROM_ADAPTER } from "./init-from.ts";
import { notSupported } from "./not-supported.ts";
import { applyPreset, type PresetChoice } from "./presets.ts";
import type { Problem } from "./problem.ts";
import { configError } from "./problem.ts";
import { contradictions, KEYS_OF_OTHERS, keysOfOtherMethods, keysOfOtherSchedules } from "./rules.ts";
import type { Config } from "./schema.ts";
import { readConfigSource, valueAt } from "./source.ts";
import type { ConfigSource, KeyPath } from "./source.ts";
import { templateSpec } from "../template-spec.ts";
import { validate } from "./validate.ts";

type Epochs =
  | { readonly epochs: number; readonly max_steps?: undefined }
  | { readonly max_steps: number; readonly epochs?: undefined };
type Warmup =
  | { readonly warmup_ratio: number; readonly warmup_steps?: undefined }
  | { readonly warmup_steps: number; readonly warmup_ratio?: undefined };

/** A config in which nothing is left to decide; paths are absolute. It is itself a valid config file. */
export interface ResolvedConfig extends Omit<Config, "train"> {
  readonly train: Omit<Config["train"], "epochs" | "max_steps" | "warmup_ratio" | "warmup_steps" | "learning_rate"> &
    Epochs &
    Warmup & { readonly learning_rate: number };
}

/** A config and the file it came from, for errors about its keys. */
export interface LoadedConfig {
  readonly config: ResolvedConfig;
  readonly source: ConfigSource;
  /** what `preset` chose, in the order of its table */
  readonly choices: readonly PresetChoice[];
  /** where the adapter's start was computed from the base's weights */
  readonly start?: {
    /** PEFT folder with A and B as they begin */
    readonly adapter: string;
    /** the model that `config.model` is the rest of; undefined where the base is as it was */
    readonly original: string | undefined;
  };
  /** true where a person wrote the key, in the file or with `--set` */
  written(key: KeyPath): boolean;
}

const DEFAULT_REPLAY_BATCH = 4;
const DEFAULT_EPOCHS = 3;
const DEFAULT_WARMUP_RATIO = 0.03;
const DEFAULT_SAMPLE_EVERY = 100;
const DEFAULT_LEARNING_RATE = { lora: 2e-4, qlora: 2e-4, full: 2e-5, freeze: 2e-5 } as const;

/**
 * @param path - as given on the command line, relative to `cwd`
 * @param sets - `--set` arguments; relative paths in them start at the config file, as everywhere in the config
 * @throws InputError `FILE_MISSING`; CliError `CONFIG_*`, `NOT_SUPPORTED`, `FLAG_INVALID`
 */
export async function loadConfig(
  path: string,
  options: { cwd: string; sets?: readonly string[] },
): Promise<LoadedConfig> {
  const file = resolve(options.cwd, path);
  const source = readConfigSource(await readTextFile(file, path), { path, sets: options.sets ?? [] });
  return checkConfig(source, dirname(file));
}

/** @param folder - where relative paths of the config start */
export function checkConfig(source: ConfigSource, folder: string): LoadedConfig {
  const { value, choices } = applyPreset(source.value);
  const result = validate(value);
  if ("problems" in result) return throwFirst(result.problems, source);
  const written = (key: KeyPath): boolean => valueAt(source.value, key) !== undefined;
  const problems = [...notSupported(value), ...contradictions({ config: result.config, written })];
  if (problems.length > 0) return throwFirst(problems, source);
  return { config: resolveConfig(result.config, folder), source, choices, written };
}

/** Throws the problem that stands first in the file; the others are named in it. */
export function throwFirst(problems: readonly Problem[], source: ConfigSource): never {
  const place = (problem: Problem): number =>
    source.setBy(problem.key) === undefined ? (source.lineOf(problem.key) ?? Number.MAX_SAFE_INTEGER) : Infinity;
  const [first, ...more] = problems.toSorted((a, b) => place(a) - place(b)) as [Problem, ...Problem[]];
  throw configError(first, source, more);
}

function resolveSample(
  { every, steps, ...sample }: NonNullable<Config["sample"]>,
  absolute: (path: string) => string,
): NonNullable<Config["sample"]> {
  return { ...sample, path: absolute(sample.path), ...(steps ? { steps } : { every: every ?? DEFAULT_SAMPLE_EVERY }) };
}

function resolveConfig(config: Config, folder: string): ResolvedConfig {
  const { epochs, max_steps, warmup_ratio, warmup_steps, learning_rate, ...train } = config.train;
  const absolute = (path: string): string => resolve(folder, path);
  const template = (spec: string): string => templateSpec(spec, folder);
  const withPath = <E extends { path: string | string[] }>(e: E): E => ({
    ...e,
    path: typeof e.path === "string" ? absolute(e.path) : e.path.map(absolute),
  });
  const entry = <E extends Config["data"]["train"][number]>(e: E): E => ({
    ...withPath(e),
    ...(e.chat_template === undefined ? {} : { chat_template: template(e.chat_template) }),
  });
  return {
    ...config,
    model: absolute(config.model),
    output: absolute(config.output),
    data: {
      ...config.data,
      cache: config.data.cache === null ? null : absolute(config.data.cache),
      chat_template: template(config.data.chat_template),
      train: config.data.train.map(entry),
      ...(config.data.eval ? { eval: config.data.eval.map(entry) } : {}),
      ...(config.data.test ? { test: config.data.test.map(entry) } : {}),
    },
    ...(config.probe
      ? {
          probe: {
            ...config.probe,
            ...(config.probe.sets ? { sets: config.probe.sets.map(entry) } : {}),
            ...(config.probe.pairs ? { pairs: config.probe.pairs.map(withPath) } : {}),
          },
        }
      : {}),
    ...(config.sample ? { sample: resolveSample(config.sample, absolute) } : {}),
    regularize: {
      ...config.regularize,
      ...(config.regularize.kl_to_base > 0
        ? { replay_batch_size: config.regularize.replay_batch_size ?? DEFAULT_REPLAY_BATCH }
        : {}),
      ...(config.regularize.replay ? { replay: config.regularize.replay.map(entry) } : {}),
    },
    tune: { ...config.tune, init_from: config.tune.init_from === null ? null : absolute(config.tune.init_from) },
    train: {
      ...(max_steps === undefined ? { epochs: epochs ?? DEFAULT_EPOCHS } : { max_steps }),
      ...(warmup_steps === undefined ? { warmup_ratio: warmup_ratio ?? DEFAULT_WARMUP_RATIO } : { warmup_steps }),
      learning_rate: learning_rate ?? DEFAULT_LEARNING_RATE[config.tune.method],
      ...train,
    },
  };
}

/**
 * The text of `config.resolved.yaml`: a config that repeats the run. Settings of other methods,
 * optimizers and schedules are left out.
 */
export function resolvedConfigText(config: ResolvedConfig): string {
  const others: readonly string[] = [
    ...KEYS_OF_OTHERS[config.train.optimizer],
    ...keysOfOtherSchedules(config.train.schedule),
  ];
  const train = without(config.train, others);
  return stringify({
    format_version: 1,
    ...config,
    train,
    tune: without(config.tune, [
      ...keysOfOtherMethods(config.tune.method),
      ...(config.tune.init_from === null ? [] : KEYS_FROM_ADAPTER),
    ]),
  });
}

function without(section: object, keys: readonly string[]): object {
  return Object.fromEntries(Object.entries(section).filter(([key]) => !keys.includes(key)));
}
