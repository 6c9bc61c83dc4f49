// Rules between keys ("Exact meanings" of docs/cli.md). What can be known only with the rows, the model or the adapter
// at hand is checked by the packages that read those.

import type { Problem } from "./problem.ts";
import type { Config } from "./schema.ts";
import { keyText } from "./source.ts";
import type { KeyPath } from "./source.ts";

/** Keys of `train` that an optimizer does not know. */
export const KEYS_OF_OTHERS = {
  adamw: ["momentum", "nesterov"],
  adamw8bit: ["momentum", "nesterov"],
  sgd: ["betas", "eps"],
  lion: ["eps", "momentum", "nesterov"],
  adafactor: ["betas", "eps", "momentum", "nesterov"],
} as const;

/** Keys of `tune` that say what an adapter is and how it trains. */
const KEYS_OF_ADAPTERS = [
  "r",
  "alpha",
  "dropout",
  "target_modules",
  "exclude_modules",
  "layers_to_transform",
  "layers_pattern",
  "rank_pattern",
  "alpha_pattern",
  "loraplus_lr_ratio",
  "bias",
  "modules_to_save",
  "use_dora",
  "use_rslora",
  "init_lora_weights",
  "init_from",
  "train_new_tokens",
] as const;

/** Keys of `tune` that a method does not know. */
export function keysOfOtherMethods(method: Config["tune"]["method"]): readonly (keyof Config["tune"])[] {
  const adapters = method === "lora" || method === "qlora";
  return [
    ...(adapters ? [] : KEYS_OF_ADAPTERS),
    ...(method === "qlora" ? [] : (["quant"] as const)),
    ...(method === "freeze" ? [] : (["unfreeze"] as const)),
  ];
}

/** Keys of `train` that belong to some schedules alone. */
const KEYS_OF_SCHEDULES: Readonly<Record<string, readonly string[]>> = {
  min_lr_ratio: ["cosine-with-min", "wsd", "polynomial"],
  lr_cycles: ["cosine-restarts"],
  lr_decay_ratio: ["wsd"],
  lr_decay: ["wsd"],
  lr_power: ["polynomial"],
};

/** Keys of `train` that the schedule of a run does not know. */
export function keysOfOtherSchedules(schedule: string): string[] {
  return Object.keys(KEYS_OF_SCHEDULES).filter((key) => !KEYS_OF_SCHEDULES[key]!.includes(schedule));
}

/** A config that the schema has accepted, and which of its keys a person wrote. */
interface Checked {
  readonly config: Config;
  written(key: KeyPath): boolean;
}

/** Every contradiction in a config. */
export function contradictions(checked: Checked): Problem[] {
  return [
    ...bothWritten(checked),
    ...presetRules(checked),
    ...evalRules(checked),
    ...probeRules(checked),
    ...replayRules(checked),
    ...mixtureRules(checked),
    ...withoutEffect(checked),
  ];
}

function conflict(key: KeyPath, message: string, fix: string): Problem {
  return { code: "CONFIG_CONFLICT", key, message, fix };
}

/** Keys that say one thing in two ways. */
export const EITHER_OR: readonly (readonly [KeyPath, KeyPath])[] = [
  [
    ["train", "epochs"],
    ["train", "max_steps"],
  ],
  [
    ["train", "warmup_ratio"],
    ["train", "warmup_steps"],
  ],
  [
    ["data", "eval"],
    ["data", "eval_split"],
  ],
  [
    ["data", "test"],
    ["data", "test_split"],
  ],
  [
    ["sample", "every"],
    ["sample", "steps"],
  ],
];

function* bothWritten({ written }: Checked): Generator<Problem> {
  for (const [a, b] of EITHER_OR)
    if (written(a) && written(b))
      yield conflict(
        b,
        `and \`${keyText(a)}\` are both written, and either decides alone`,
        `remove ${keyText(a)} or ${keyText(b)}`,
      );
}

function* presetRules({ config }: Checked): Generator<Problem> {
  const { preset, tune } = config;
  if (preset === undefined || preset === "small-data") return;
  const methods: readonly string[] = preset === "full" ? ["full", "freeze"] : [preset];
  if (!methods.includes(tune.method))
    yield conflict(
      ["tune", "method"],
      `is ${tune.method}, and preset ${preset} has the rates of ${methods.join(" and ")}`,
      `remove preset or tune.method${tune.method === "freeze" ? ", or use preset: full" : `, or use preset: ${tune.method}`}`,
    );
}

function* evalRules({ config }: Checked): Generator<Problem> {
  if (config.keep === "best" && config.data.eval === undefined && config.data.eval_split === undefined)
    yield conflict(
      ["keep"],
      "is best, and there are no eval rows to tell which state is",
      "add data.eval or data.eval_split, or remove keep",
    );
  const { data } = config;
  if (config.eval.patience !== null && data.eval === undefined && data.eval_split === undefined)
    yield conflict(
      ["eval", "patience"],
      "needs eval rows to watch, and the config names none",
      "add data.eval or data.eval_split, or remove eval.patience",
    );
}

function* probeRules({ config: { probe } }: Checked): Generator<Problem> {
  if (probe && probe.sets === undefined && probe.pairs === undefined)
    yield conflict(["probe"], "names nothing to score", "add probe.sets or probe.pairs, or remove probe");
  yield* withoutWeights(["probe", "sets"], probe?.sets);
}

function* replayRules({ config: { regularize, tune }, written }: Checked): Generator<Problem> {
  const { kl_to_base: strength, replay } = regularize;
  yield* withoutWeights(["regularize", "replay"], replay);
  if (strength === 0) {
    for (const key of ["replay", "replay_batch_size"])
      if (written(["regularize", key]))
        yield conflict(["regularize", key], "has no effect without kl_to_base", "set kl_to_base, or remove it");
    return;
  }
  if (replay === undefined)
    yield conflict(["regularize", "kl_to_base"], "needs rows to compare on", "add regularize.replay");
  if (tune.method === "full" || tune.method === "freeze")
    yield conflict(
      ["regularize", "kl_to_base"],
      `needs the base beside what trains, and method ${tune.method} changes it`,
      "use l2_to_start, or method: lora",
    );
}

/** Weights of tasks mean nothing in lists that the objective does not mix. */
function* withoutWeights(list: KeyPath, entries: Config["data"]["train"] = []): Generator<Problem> {
  for (const key of ["sampling_weight", "loss_weight"] as const)
    for (const [i, entry] of entries.entries())
      if (entry[key] !== undefined)
        yield conflict([...list, i, key], "has no effect on rows that never train", "remove it");
}

function* mixtureRules({ config }: Checked): Generator<Problem> {
  const { train: entries, tasks = {} } = config.data;
  const taskNames = entries.map((entry) => entry.name ?? stem(entry.path));
  const sameTask = (i: number, j: number): boolean => taskNames[i] !== undefined && taskNames[i] === taskNames[j];
  const weighted = entries.filter((entry) => entry.sampling_weight !== undefined);
  if (config.data.sampling !== undefined) {
    const own = entries.findIndex((entry) => entry.sampling_weight !== undefined);
    const named = Object.entries(tasks).find(([, task]) => task.sampling_weight !== undefined)?.[0];
    const key = own >= 0 ? ["data", "train", own] : named === undefined ? undefined : ["data", "tasks", named];
    if (key)
      yield conflict(
        [...key, "sampling_weight"],
        "contradicts data.sampling, which sets all weights",
        "remove one of the two",
      );
    if (config.data.sampling === "temperature" && config.data.sampling_temperature === undefined)
      yield conflict(
        ["data", "sampling"],
        "needs sampling_temperature",
        "set it: 1 is proportional, large values are nearly equal; mT5 took 3.33",
      );
  }
  const anyTaskWeight = Object.values(tasks).some((task) => task.sampling_weight !== undefined);
  for (const [i, entry] of entries.entries()) {
    const key: KeyPath = ["data", "train", i];
    if (entry.sampling_weight !== undefined && entries.length === 1)
      yield conflict(
        [...key, "sampling_weight"],
        "is set and there is only one entry to draw from",
        "remove it; loss_weight is the knob that scales a loss",
      );
    if (entry.sampling_weight === undefined && weighted.length > 0 && !anyTaskWeight)
      yield conflict(
        key,
        "has no sampling_weight, and other entries have one",
        "set sampling_weight on every entry or on none",
      );
    const λ = entry.loss_weight;
    if (λ === undefined) continue;
    const first = entries.findIndex((other, j) => (j === i || sameTask(i, j)) && other.loss_weight !== undefined);
    const name = taskNames[i];
    const named = name !== undefined && Object.hasOwn(tasks, name) ? tasks[name]!.loss_weight : undefined;
    const other = entries[first]!.loss_weight !== λ ? entries[first]!.loss_weight : named;
    if (other !== undefined && other !== λ)
      yield conflict(
        [...key, "loss_weight"],
        `is ${λ} and the task \`${name}\` has ${other} elsewhere`,
        "a loss_weight belongs to the task: give it once",
      );
  }
}

function* withoutEffect({ config, written }: Checked): Generator<Problem> {
  const { data, tune, train } = config;
  if (train.micro_batch_size !== "auto" && train.micro_batch_size > train.batch_size)
    yield conflict(
      ["train", "micro_batch_size"],
      `is ${train.micro_batch_size} and batch_size is ${train.batch_size}: it can only cut a batch into smaller ones`,
      "lower micro_batch_size; to make steps larger raise batch_size",
    );
  if (data.sampling_temperature !== undefined && data.sampling !== "temperature")
    yield conflict(["data", "sampling_temperature"], "has no effect without sampling: temperature", "remove it");
  if (data.near_threshold !== undefined && data.near_duplicates === "none")
    yield conflict(
      ["data", "near_threshold"],
      "has no effect with near_duplicates: none",
      "remove it, or use near_duplicates: report or drop",
    );
  if (data.group_by_length && (data.packing !== false || !data.shuffle))
    yield conflict(
      ["data", "group_by_length"],
      "needs packing: false and shuffle: true: packed rows have no padding to save",
      "remove it",
    );
  if (train.objective === "token_mean") {
    const remove = "use objective: task_mean, or remove the loss weights";
    for (const [i, entry] of data.train.entries())
      if (entry.loss_weight !== undefined)
        yield conflict(["data", "train", i, "loss_weight"], "has no effect on the objective token_mean", remove);
    for (const [name, task] of Object.entries(data.tasks ?? {}))
      if (task.loss_weight !== undefined)
        yield conflict(["data", "tasks", name, "loss_weight"], "has no effect on the objective token_mean", remove);
  }
  for (const key of keysOfOtherSchedules(train.schedule))
    if (written(["train", key]))
      yield conflict(["train", key], `has no effect with the schedule ${train.schedule}`, "remove it");
  for (const [schedule, key] of [
    ["cosine-with-min", "min_lr_ratio"],
    ["cosine-restarts", "lr_cycles"],
  ] as const)
    if (train.schedule === schedule && train[key] === undefined)
      yield conflict(["train", "schedule"], `needs train.${key}`, `set train.${key}`);
  for (const key of KEYS_OF_OTHERS[train.optimizer])
    if (written(["train", key]))
      yield conflict(["train", key], `has no effect with the optimizer ${train.optimizer}`, "remove it");
  if (train.optimizer === "sgd" && train.nesterov && train.momentum === 0)
    yield conflict(["train", "nesterov"], "needs momentum", "set train.momentum, for example to 0.9");
  if (tune.use_dora && tune.dropout > 0)
    yield conflict(
      ["tune", "dropout"],
      "and use_dora are not implemented together",
      "set dropout to 0, or use_dora to false",
    );
  if (written(["tune", "init_lora_weights"]) && tune.init_from !== null)
    yield conflict(["tune", "init_lora_weights"], "has no effect with init_from", "remove it");
  yield* computedStarts(config);
  if (tune.train_new_tokens !== false && tune.modules_to_save.length > 0)
    yield conflict(
      ["tune", "train_new_tokens"],
      "trains single rows, and modules_to_save trains embedding or head whole",
      "remove one of the two",
    );
  if (tune.layers_pattern && !tune.layers_to_transform)
    yield conflict(["tune", "layers_pattern"], "has no effect without layers_to_transform", "remove it");
  for (const key of keysOfOtherMethods(tune.method))
    if (written(["tune", key])) {
      const method = { quant: "qlora", unfreeze: "freeze" }[key as string] ?? "lora";
      yield conflict(["tune", key], `has no effect with method ${tune.method}`, `remove it, or use method: ${method}`);
    }
  if (tune.method === "freeze" && tune.unfreeze.length === 0)
    yield conflict(
      ["tune", "unfreeze"],
      "is empty, so nothing would train",
      "name the modules that train, for example [lm_head]",
    );
}

/** Values of `tune.init_lora_weights` that are computed from the base's weights. */
export const COMPUTED_STARTS: readonly string[] = ["pissa", "olora", "loftq"];

/** What a start that is computed from the base's weights does not go with. */
function* computedStarts({ tune }: Config): Generator<Problem> {
  const start = tune.init_lora_weights;
  const key = ["tune", "init_lora_weights"];
  if (!COMPUTED_STARTS.includes(start)) return;
  if (tune.use_dora)
    yield conflict(key, `is ${start}, which is not implemented with use_dora`, "set use_dora to false");
  if (start === "loftq" && tune.method !== "qlora")
    yield conflict(key, "is loftq, which makes up for what quantizing loses", "use method: qlora, or another start");
  const more = tune.bias !== "none" || tune.modules_to_save.length > 0 || tune.train_new_tokens !== false;
  if (start !== "loftq" && more)
    yield conflict(
      key,
      `is ${start}, whose adapter is brought back to the original base by low-rank updates alone`,
      "remove bias, modules_to_save and train_new_tokens, or use another start",
    );
}

/** The task of an entry without a name: its file's stem. Undefined where only the disk tells the files. */
function stem(path: string | readonly string[]): string | undefined {
  if (typeof path !== "string") return path.length === 1 ? stem(path[0]!) : undefined;
  const name = path.split(/[/\\]/).at(-1)!;
  if (/[*?[]/.test(path) || !name.includes(".")) return undefined;
  return name.replace(/(?<=.)\.gz$/i, "").replace(/(?<=.)\.[^.]*$/, "");
}
