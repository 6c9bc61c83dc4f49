import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { folderWith } from "../../../../tests/support/cli.ts";
import { loadConfig, resolvedConfigText } from "./load.ts";

const MINIMAL = `model: base
output: runs/first
data:
  train:
    - path: a.jsonl
`;

interface Failure {
  code: string;
  message: string;
  line?: number;
  expected?: string;
  received?: string;
  fix?: string;
}

async function load(text: string, ...sets: string[]): ReturnType<typeof loadConfig> {
  return loadConfig("run.yaml", { cwd: folderWith({ "run.yaml": text }), sets });
}

async function failure(text: string, ...sets: string[]): Promise<Failure> {
  const outcome = await load(text, ...sets).then(
    () => undefined,
    (error: { toJSON(): Failure }) => error.toJSON(),
  );
  if (!outcome) throw new Error("the config was accepted");
  return outcome;
}

describe("defaults and precedence", () => {
  test("a minimal config is completed by the contract's defaults", async () => {
    const { config } = await load(MINIMAL);
    expect(config.train).toMatchObject({
      epochs: 3,
      warmup_ratio: 0.03,
      learning_rate: 2e-4,
      batch_size: 8,
      schedule: "cosine",
    });
    expect(config.train).not.toHaveProperty("max_steps");
    expect(config.tune).toMatchObject({ method: "lora", r: 16, alpha: 32, target_modules: "all-linear" });
    expect(config.eval).toEqual({ every: 50, patience: null });
  });
  test("of epochs|max_steps and warmup_ratio|warmup_steps the one written wins over the other's default", async () => {
    const { config } = await load(MINIMAL, "train.max_steps=20", "train.warmup_steps=2");
    expect(config.train).toMatchObject({ max_steps: 20, warmup_steps: 2 });
    expect(config.train).not.toHaveProperty("epochs");
    expect(config.train).not.toHaveProperty("warmup_ratio");
  });
  test("paths start at the config file, whatever the working directory", async () => {
    const folder = folderWith({
      "sub/run.yaml": `${MINIMAL}  chat_template: t.jinja\ntune: {init_from: ../adapter}\n`,
    });
    const { config } = await loadConfig("sub/run.yaml", { cwd: folder });
    expect(config.model).toBe(join(folder, "sub", "base"));
    expect(config.output).toBe(join(folder, "sub", "runs", "first"));
    expect(config.data.train[0]!.path).toBe(join(folder, "sub", "a.jsonl"));
    expect(config.data.chat_template).toBe(join(folder, "sub", "t.jinja"));
    expect(config.tune.init_from).toBe(join(folder, "adapter"));
  });
  test("the resolved config is a config, and resolves to itself", async () => {
    const { config } = await load(MINIMAL, "train.max_steps=5");
    const text = resolvedConfigText(config);
    expect(parse(text)).toMatchObject({ format_version: 1 });
    const { format_version: _, ...again } = (await load(text)).config;
    expect(stringify(again)).toBe(stringify(config));
  });
});

describe("--set", () => {
  test("values are YAML, missing maps are made, list entries are counted from 0", async () => {
    const { config } = await load(
      MINIMAL,
      "train.betas=[0.8, 0.9]",
      "eval.every=7",
      "data.train.0.name=math",
      "data.train.1.path=b.jsonl",
      "train.max_grad_norm=null",
    );
    expect(config.train.betas).toEqual([0.8, 0.9]);
    expect(config.train.max_grad_norm).toBeNull();
    expect(config.eval.every).toBe(7);
    expect(config.data.train.map((entry) => entry.name)).toEqual(["math", undefined]);
  });
  test("the last one wins, over the file and over earlier ones", async () => {
    expect((await load(`${MINIMAL}seed: 1\n`, "seed=2", "seed=3")).config.seed).toBe(3);
  });
  test("a mistake in one is told by its text, not by a line of the file", async () => {
    const error = await failure(`${MINIMAL}seed: 1\n`, "seed=x");
    expect(error).toMatchObject({
      code: "CONFIG_VALUE_INVALID",
      message: '--set seed=x: `seed` is "x", expected an integer ≥ 0',
    });
    expect(error).not.toHaveProperty("line");
  });
  test.each(["seed", "=1", "a..b=1", "data.train.7.path=x", "model.path=x", "seed=[1", "seed=!!foo 1"])(
    "%s is refused",
    async (set) => {
      expect(await failure(MINIMAL, set)).toMatchObject({
        code: "FLAG_INVALID",
        fix: expect.stringContaining("--set train.max_steps=20"),
      });
    },
  );
});

describe("the text", () => {
  test.each([
    ["a duplicate key", `${MINIMAL}seed: 1\nseed: 2\n`, "CONFIG_SYNTAX", 7],
    ["an unknown tag", `${MINIMAL}seed: !!python/object 1\n`, "CONFIG_SYNTAX", 6],
    ["a second document", `${MINIMAL}---\nseed: 1\n`, "CONFIG_SYNTAX", 6],
    ["an open bracket", `${MINIMAL}seed: [1\n`, "CONFIG_SYNTAX", 7],
    ["a tab as indentation", "model: x\ndata:\n\ttrain: []\n", "CONFIG_SYNTAX", 3],
  ])("%s", async (_, text, code, line) => {
    expect(await failure(text)).toMatchObject({ code, line, fix: expect.any(String) });
  });
  test("aliases that multiply are refused before they are expanded", async () => {
    const rows = Array.from(
      "abcdefgh",
      (name, i) =>
        `${name}: &${name} [${Array(9)
          .fill(i === 0 ? "x" : `*${"abcdefgh"[i - 1]}`)
          .join(",")}]`,
    );
    expect(await failure(rows.join("\n"))).toMatchObject({ code: "CONFIG_SYNTAX" });
  });
  test("nesting without end is a syntax error, not a crash", async () => {
    expect(await failure(`model: ${"[".repeat(100_000)}`)).toMatchObject({ code: "CONFIG_SYNTAX" });
  });
  test("bytes that are no text, and files that are none", async () => {
    const cwd = folderWith({ "run.yaml": Uint8Array.of(0x6d, 0xff, 0xfe) });
    await expect(loadConfig("run.yaml", { cwd })).rejects.toMatchObject({ code: "UTF8_INVALID" });
    await expect(loadConfig("none.yaml", { cwd })).rejects.toMatchObject({
      code: "FILE_MISSING",
      details: { path: "none.yaml" },
    });
    await expect(loadConfig(".", { cwd })).rejects.toMatchObject({ code: "FILE_UNREADABLE" });
  });
});

describe("keys and values", () => {
  test.each([
    ["a misspelt key", `${MINIMAL}train: {batch_sise: 4}\n`, "CONFIG_KEY_UNKNOWN", 6, "did you mean batch_size?"],
    [
      "a key in the wrong place",
      `${MINIMAL}learning_rate: 1\n`,
      "CONFIG_KEY_UNKNOWN",
      6,
      "did you mean train.learning_rate?",
    ],
    ["a key that is nothing at all", `${MINIMAL}zzzzzzzz: 1\n`, "CONFIG_KEY_UNKNOWN", 6, "the keys here are"],
    ["__proto__", `${MINIMAL}__proto__: {seed: 1}\n`, "CONFIG_KEY_UNKNOWN", 6, "the keys here are"],
    ["a misspelt value", `${MINIMAL}train: {schedule: cosin}\n`, "CONFIG_VALUE_INVALID", 6, "did you mean cosine?"],
    ["zero", `${MINIMAL}train: {batch_size: 0}\n`, "CONFIG_VALUE_INVALID", 6, "write an integer ≥ 1"],
    ["a fraction", `${MINIMAL}train: {batch_size: 1.5}\n`, "CONFIG_VALUE_INVALID", 6, "write an integer ≥ 1"],
    ["not a number", `${MINIMAL}train: {learning_rate: .nan}\n`, "CONFIG_VALUE_INVALID", 6, "write a number > 0"],
    ["infinity", `${MINIMAL}train: {learning_rate: .inf}\n`, "CONFIG_VALUE_INVALID", 6, "write a number > 0"],
    [
      "an integer that would be rounded",
      `${MINIMAL}seed: 9007199254740993\n`,
      "CONFIG_VALUE_INVALID",
      6,
      "write an integer ≥ 0",
    ],
    ["a word for a boolean", `${MINIMAL}  shuffle: yes\n`, "CONFIG_VALUE_INVALID", 6, "write true or false"],
    ["an empty list", "model: m\noutput: o\ndata: {train: []}\n", "CONFIG_VALUE_INVALID", 3, "at least one entry"],
    ["three betas", `${MINIMAL}train: {betas: [0.9, 0.9, 0.9]}\n`, "CONFIG_VALUE_INVALID", 6, "a list of 2 values"],
    ["a list for the config", "- model: m\n", "CONFIG_VALUE_INVALID", undefined, "write a map"],
    ["an empty file", "", "CONFIG_VALUE_INVALID", undefined, "write a map"],
  ])("%s", async (_, text, code, line, fix) => {
    const error = await failure(text);
    expect(error.code).toBe(code);
    expect(error.line).toBe(line);
    expect(error.fix).toContain(fix);
    expect(error.message).toContain("run.yaml");
  });
  test("a missing key names itself", async () => {
    expect(await failure("output: o\ndata: {train: [{path: a.jsonl}]}\n")).toMatchObject({
      code: "CONFIG_KEY_MISSING",
      message: "run.yaml: `model` is missing",
      fix: expect.stringContaining("--set model="),
    });
  });
  test("the first mistake of the file is told, the others are named", async () => {
    expect((await failure(`${MINIMAL}train: {batch_size: 0}\nsede: 1\n`)).message).toBe(
      "run.yaml:6: `train.batch_size` is 0, expected an integer ≥ 1 (also wrong: sede)",
    );
  });
});

describe("keys against each other", () => {
  const two = "model: m\noutput: o\ndata:\n  train:\n    - {path: a.jsonl, ENTRY}\n    - {path: b.jsonl, OTHER}\n";
  const entries = (first: string, second: string): string => two.replace("ENTRY", first).replace("OTHER", second);
  test.each([
    ["epochs and max_steps", `${MINIMAL}train:\n  epochs: 3\n  max_steps: 5\n`, "train.max_steps", 8],
    [
      "warmup_ratio and warmup_steps",
      `${MINIMAL}train:\n  warmup_ratio: 0\n  warmup_steps: 0\n`,
      "train.warmup_steps",
      8,
    ],
    ["eval and eval_split", `${MINIMAL}  eval: [{path: e.jsonl}]\n  eval_split: 0.1\n`, "data.eval_split", 7],
    ["test and test_split", `${MINIMAL}  test: [{path: e.jsonl}]\n  test_split: 0.1\n`, "data.test_split", 7],
    ["patience without eval rows", `${MINIMAL}eval: {patience: 2}\n`, "eval.patience", 6],
    [
      "sampling_weight with one entry",
      "model: m\noutput: o\ndata: {train: [{path: a.jsonl, sampling_weight: 1}]}\n",
      "data.train[0].sampling_weight",
      3,
    ],
    ["sampling_weight on some entries", entries("sampling_weight: 1", "name: x"), "data.train[1]", 6],
    [
      "two λ for one task",
      entries("name: t, loss_weight: 1", "name: t, loss_weight: 2"),
      "data.train[1].loss_weight",
      6,
    ],
    [
      "λ on the entry and in data.tasks",
      `${entries("loss_weight: 1", "name: x")}  tasks: {a: {loss_weight: 2}}\n`,
      "data.train[0].loss_weight",
      5,
    ],
    [
      "λ that token_mean would ignore",
      `${entries("loss_weight: 2", "name: x")}train: {objective: token_mean}\n`,
      "data.train[0].loss_weight",
      5,
    ],
    [
      "λ in data.tasks that token_mean would ignore",
      `${MINIMAL}  tasks: {a: {loss_weight: 2}}\ntrain: {objective: token_mean}\n`,
      "data.tasks.a.loss_weight",
      6,
    ],
    ["quant without qlora", `${MINIMAL}tune: {quant: {type: nf4}}\n`, "tune.quant", 6],
    [
      "sampling beside a weight",
      `${MINIMAL}  sampling: equal\n  tasks: {a: {sampling_weight: 1}}\n`,
      "data.tasks.a.sampling_weight",
      7,
    ],
    ["a temperature nobody asked for", `${MINIMAL}  sampling_temperature: 2\n`, "data.sampling_temperature", 6],
    ["sampling by a temperature that is missing", `${MINIMAL}  sampling: temperature\n`, "data.sampling", 6],
    ["a threshold for nothing", `${MINIMAL}  near_threshold: 0.9\n`, "data.near_threshold", 6],
    ["packed rows by length", `${MINIMAL}  group_by_length: true\n`, "data.group_by_length", 6],
    ["a minimum that cosine ignores", `${MINIMAL}train:\n  min_lr_ratio: 0.1\n`, "train.min_lr_ratio", 7],
    ["a minimum that is missing", `${MINIMAL}train:\n  schedule: cosine-with-min\n`, "train.schedule", 7],
    ["restarts without a number", `${MINIMAL}train:\n  schedule: cosine-restarts\n`, "train.schedule", 7],
    ["DoRA with dropout", `${MINIMAL}tune:\n  use_dora: true\n  dropout: 0.1\n`, "tune.dropout", 8],
    [
      "a start of an adapter that goes on",
      `${MINIMAL}tune:\n  init_from: a\n  init_lora_weights: gaussian\n`,
      "tune.init_lora_weights",
      8,
    ],
    ["a name of layers without layers", `${MINIMAL}tune:\n  layers_pattern: [h]\n`, "tune.layers_pattern", 7],
    ["eps of AdamW for Lion", `${MINIMAL}train:\n  optimizer: lion\n  eps: 1\n`, "train.eps", 8],
    ["momentum for AdamW", `${MINIMAL}train:\n  momentum: 0.5\n`, "train.momentum", 7],
    [
      "Nesterov without momentum",
      `${MINIMAL}train:\n  optimizer: sgd\n  momentum: 0\n  nesterov: true\n`,
      "train.nesterov",
      9,
    ],
    ["unfreeze without freeze", `${MINIMAL}tune: {unfreeze: [lm_head]}\n`, "tune.unfreeze", 6],
    ["KL without rows", `${MINIMAL}regularize: {kl_to_base: 1}\n`, "regularize.kl_to_base", 6],
    ["rows without KL", `${MINIMAL}regularize: {replay: [{path: r.jsonl}]}\n`, "regularize.replay", 6],
    ["a batch of nothing", `${MINIMAL}regularize: {replay_batch_size: 2}\n`, "regularize.replay_batch_size", 6],
    [
      "KL to a base that changes",
      `${MINIMAL}tune: {method: full}\nregularize: {kl_to_base: 1, replay: [{path: r.jsonl}]}\n`,
      "regularize.kl_to_base",
      7,
    ],
    [
      "λ of replayed rows",
      `${MINIMAL}regularize: {kl_to_base: 1, replay: [{path: r.jsonl, loss_weight: 2}]}\n`,
      "regularize.replay[0].loss_weight",
      6,
    ],
  ])("%s", async (_, text, key, line) => {
    const error = await failure(text);
    expect(error).toMatchObject({ code: "CONFIG_CONFLICT", line, fix: expect.any(String) });
    expect(error.message).toContain(`run.yaml:${line}: \`${key}\` `);
  });
  test.each([
    ["weights on all entries", entries("sampling_weight: 1", "sampling_weight: 2")],
    ["one λ written twice", entries("name: t, loss_weight: 2", "name: t, loss_weight: 2")],
    ["λ on one of two entries of a task", entries("name: t, loss_weight: 2", "name: t")],
    ["patience with a split", `${MINIMAL}  eval_split: 0.1\neval: {patience: 2}\n`],
    ["λ with task_mean", `${MINIMAL}  tasks: {a: {loss_weight: 2}}\ntrain: {objective: task_mean}\n`],
  ])("%s is no contradiction", async (_, text) => {
    expect((await load(text)).config.model).toMatch(/[/\\][a-z]+$/);
  });
});

describe("what this version does not have", () => {
  test.each([
    [
      "tune: {init_lora_weights: pissa_niter_4}",
      "tune.init_lora_weights",
      "default | gaussian | pissa | olora | loftq",
    ],
    ["train: {compute: mixed}", "train.compute", undefined],
    ["  compute: mixed", "data.compute", undefined],
  ])("%s", async (line, key, expected) => {
    const error = await failure(`${MINIMAL}${line}\n`);
    expect(error).toMatchObject({ code: "NOT_SUPPORTED", line: 6, fix: expect.any(String) });
    expect(error.message).toContain(`\`${key}\``);
    if (expected !== undefined) expect(error.expected).toContain(expected);
  });
});
