// One test per error code: what a script sees of it. The table is closed by the union of all packages' codes, so a code
// without a test does not pass the type gate. Where a command can bring an error about, the command does; where only a
// broken machine or a broken invariant can, the error is thrown inside a command, and what is tested is the way out.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { BugError, InputError, TunesmithError } from "@tunesmith/core";
import { describe, expect, test, vi } from "vitest";
import { type CliDocument, folderWith, runCli } from "../../../tests/support/cli.ts";
import { modelFolder } from "../../../tests/support/model-folder.ts";
import { f32Entry, safetensorsBytes } from "../../../tests/support/safetensors-bytes.ts";
import * as check from "./commands/check.ts";
import type { ErrorCode } from "./exit-codes.ts";

type Files = Record<string, string | Uint8Array>;

type Case =
  /** a command line that ends with the error, in a folder of these files */
  | {
      readonly argv: readonly string[];
      readonly files: Files;
      readonly exit?: number;
      readonly prepare?: (cwd: string) => void | Promise<void>;
    }
  /** cannot be brought about from outside */
  | { readonly thrown: TunesmithError; readonly because: string; readonly exit: number };

const CHECK_ST = ["check", "x.safetensors"];
const MINIMAL = "model: model\noutput: run\ndata:\n  train: [{path: d.jsonl}]\n";
const MODEL = modelFolder("model");
const MODEL_WITH_WEIGHTS = modelFolder("model", { weights: true });
const HI = { role: "user", content: "hi" };
const YES = { role: "assistant", content: "yes" };

function st(header: string | object, dataBytes = 0, claimed?: number): Case {
  return { argv: CHECK_ST, files: { "x.safetensors": safetensorsBytes(header, dataBytes, claimed) } };
}
function data(...rows: (object | string)[]): Case {
  const lines = rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row)));
  return { argv: ["check", "d.jsonl"], files: { "d.jsonl": lines.join("\n") } };
}
/** `inspect` of a run on these rows; `rest` continues the config's `data` section or adds sections. */
function rows(list: readonly object[], rest = "", files: Files = {}): Case {
  const text = list.map((row) => JSON.stringify(row)).join("\n");
  return { argv: ["inspect", "run.yaml"], files: { ...MODEL, "run.yaml": MINIMAL + rest, "d.jsonl": text, ...files } };
}
function config(text: string, ...files: string[]): Case {
  return { argv: ["check", "c.yaml"], files: { "c.yaml": text, ...Object.fromEntries(files.map((f) => [f, ""])) } };
}
function model(files: Files, prepare?: (cwd: string) => void): Case {
  return { argv: ["check", "model"], files: { ...MODEL, ...files }, ...(prepare ? { prepare } : {}) };
}
function adapter(config: object, tensors: object): Case {
  return { argv: ["check", "a"], files: adapterFiles("a", config, tensors) };
}
function adapterFiles(at: string, config: object, tensors: object): Files {
  const peft = { peft_type: "LORA", r: 2, lora_alpha: 4, target_modules: ["q_proj"], ...config };
  const bytes = Math.max(
    0,
    ...Object.values(tensors as Record<string, { data_offsets: [number, number] }>).map((t) => t.data_offsets[1]),
  );
  return {
    [`${at}/adapter_config.json`]: JSON.stringify(peft),
    [`${at}/adapter_model.safetensors`]: safetensorsBytes(tensors, bytes),
  };
}
/** Fills the cache of run.yaml and flips one bit of its rows. */
async function breakShard(cwd: string): Promise<void> {
  await runCli(["data", "prepare", "run.yaml"], { cwd });
  const [key] = readdirSync(join(cwd, "cache")) as [string];
  const path = join(cwd, "cache", key, "shard-00000.safetensors");
  const bytes = readFileSync(path);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(path, bytes);
}
function prompt(row: object): Case {
  return {
    argv: ["render", "--chat-template", "t.jinja", "--messages", "m.json"],
    files: { "t.jinja": "{{ messages[0].content }}", "m.json": JSON.stringify(row) },
  };
}
function quantized(quantization: object): string {
  const config = JSON.parse(String(MODEL["model/config.json"])) as object;
  return JSON.stringify({ ...config, quantization_config: quantization });
}
/** A folder that bitsandbytes wrote, with the first such text in its tensors' header replaced by another as long. */
function nf4(text: string, by: string): Files {
  const golden = new URL("../../../fixtures/goldens/models/llama-nf4-bnb/", import.meta.url);
  const bytes = readFileSync(new URL("model.safetensors", golden));
  const at = bytes.indexOf(text);
  if (at < 0 || by.length !== text.length) throw new Error(`cannot replace ${text}`);
  bytes.write(by, at);
  return {
    "model/config.json": readFileSync(new URL("config.json", golden)),
    "model/model.safetensors": bytes,
  };
}
/** Weights of which some are infinite. */
function withInfinity(): Uint8Array {
  const bytes = Uint8Array.from(MODEL_WITH_WEIGHTS["model/model.safetensors"] as Uint8Array);
  const header = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const text = new TextDecoder().decode(bytes.subarray(8, 8 + header));
  const tensors = JSON.parse(text) as Record<string, { data_offsets: [number, number] }>;
  const start = tensors["model.layers.0.mlp.up_proj.weight"]!.data_offsets[0];
  bytes.set([0, 0, 0x80, 0x7f], 8 + header + start);
  return bytes;
}
function cannot(code: ErrorCode, because: string, exit: number): Case {
  return {
    thrown: new TunesmithError(code, `something was done and ${code} happened`, { fix: "do otherwise" }),
    because,
    exit,
  };
}

const A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const B = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";
const INDEX = "model/model.safetensors.index.json";
const index = (map: object): string => JSON.stringify({ weight_map: map });
const OUR_CODE = "only our own code can ask for this";
const REFUSED_BEFORE = "the config's schema refuses it before";

const CASES: { readonly [Code in ErrorCode]: Case } = {
  // core
  BUG: { thrown: new BugError("an invariant is broken"), because: OUR_CODE, exit: 1 },
  JSON_INVALID: data('{"prompt": 1,}'),
  UTF8_INVALID: { argv: ["check", "d.jsonl"], files: { "d.jsonl": Uint8Array.of(0x22, 0xff, 0x22) } },
  FILE_MISSING: { argv: ["check", "none.jsonl"], files: {} },
  FILE_UNREADABLE: { argv: ["inspect", "model"], files: MODEL },
  // data
  PATH_UNMATCHED: config("model: m\noutput: run\ndata: {train: [{path: '*.jsonl'}]}\n"),
  FILE_FORMAT_UNKNOWN: config("model: m\noutput: run\ndata: {train: [{path: d}]}\n", "d/rows.xyz"),
  GZIP_INVALID: { argv: ["check", "d.jsonl.gz"], files: { "d.jsonl.gz": "no gzip file at all" } },
  GZIP_BOMB: { argv: ["check", "d.csv.gz"], files: { "d.csv.gz": gzipSync(new Uint8Array(2 ** 27)) } },
  CSV_INVALID: { argv: ["check", "d.csv"], files: { "d.csv": "prompt,completion\na\n" } },
  PARQUET_INVALID: { argv: ["check", "d.parquet"], files: { "d.parquet": "PAR1" } },
  PREPARED_INVALID: {
    argv: ["inspect", "run.yaml"],
    files: { ...MODEL, "run.yaml": `${MINIMAL}  cache: cache\n`, "d.jsonl": '{"text":"a"}' },
    prepare: breakShard,
  },
  FORMAT_UNKNOWN: data({ question: "?" }),
  FORMAT_UNSUPPORTED: rows([{ chosen: "do", rejected: "done" }]),
  MAP_INVALID: {
    argv: ["inspect", "run.yaml"],
    files: { ...MODEL, "run.yaml": MINIMAL.replace("d.jsonl", 'd.jsonl, map: {text: "{{"}'), "d.jsonl": '{"a": 1}' },
  },
  COLUMN_UNKNOWN: data({ text: "a", extra: 1 }),
  COLUMN_MISSING: data({ messages: [HI, YES] }, { tools: [] }),
  VALUE_INVALID: data({ text: 1 }),
  ROLE_UNKNOWN: prompt([{ role: "robot", content: "x" }]),
  LINE_TOO_LONG: data(`{"text":"${"x".repeat(2 ** 26)}"}`),
  TEXT_INVALID: data('{"text":"\\ud83d"}'),
  TOKENIZER_INVALID: rows([{ text: "a" }], "", { "model/tokenizer.json": "{}" }),
  EOS_MISSING: rows([{ text: "a" }], "", {
    "model/tokenizer_config.json": "{}",
    ...Object.fromEntries(
      Object.entries(modelFolder("model", { config: { eos_token_id: null } })).filter(([name]) =>
        name.endsWith("/config.json"),
      ),
    ),
  }),
  TEMPLATE_MISSING: rows([{ messages: [HI, YES] }], "", modelFolder("model", { template: null })),
  TEMPLATE_INVALID: { ...prompt([HI]), files: { "t.jinja": "{% for", "m.json": JSON.stringify([HI]) } } as Case,
  TEMPLATE_FAILED: {
    ...prompt([HI]),
    files: { "t.jinja": "{{ raise_exception('no') }}", "m.json": JSON.stringify([HI]) },
  } as Case,
  TEMPLATE_LIMIT: {
    ...prompt([HI]),
    files: { "t.jinja": "{{ 'x' * 100000000 }}", "m.json": JSON.stringify([HI]) },
  } as Case,
  TEMPLATE_UNSTABLE: rows([{ messages: [HI, YES] }], "", modelFolder("model", { template: "{{ messages | length }}" })),
  TRAIN_ON_INVALID: rows([{ messages: [HI, YES, HI, YES] }], "  train_on: completion\n"),
  DOUBLE_BOS: rows([{ text: "<s><s>a" }]),
  TOKEN_OUT_OF_RANGE: rows([{ input_ids: [5, 300] }]),
  ROW_TOO_LONG: rows([{ text: "a" }, { prompt: "a", completion: "bcdef" }].slice(1), "  max_length: 3\n"),
  TOO_MUCH_LOST: rows(
    [
      { prompt: "a", completion: "bcdef" },
      { prompt: "a", completion: "b" },
    ],
    "  max_length: 3\n  overlong: drop\n",
  ),
  NO_TARGETS: cannot("NO_TARGETS", "rows without a target are dropped before they reach a step", 2),
  TASK_EMPTY: rows([]),
  TASK_CONFLICT: rows([{ text: "a", task: "t" }], "", {
    "run.yaml":
      "model: model\noutput: run\ndata:\n  train: [{path: d.jsonl, loss_weight: 1}, {path: e.jsonl, loss_weight: 2}]\n",
    "e.jsonl": '{"text":"b","task":"t"}',
  }),
  MIXTURE_INVALID: rows(
    [
      { text: "a", task: "t" },
      { text: "b", task: "u" },
    ],
    "  tasks: {t: {sampling_weight: 1}}\n",
  ),
  SCHEDULE_INVALID: cannot("SCHEDULE_INVALID", REFUSED_BEFORE, 2),
  SCHEDULE_EXHAUSTED: rows([{ text: "a" }, { text: "b" }], "  tasks: {d: {max_epochs: 1}}\ntrain: {epochs: 3}\n"),
  SPLIT_INVALID: rows([{ text: "a" }], "  eval_split: 0.5\n"),
  CONTAMINATED: rows([{ text: "a b c" }], "  eval: [{path: d.jsonl}]\n  contamination: error\n"),
  // safetensors
  FILE_TOO_SMALL: { argv: CHECK_ST, files: { "x.safetensors": new Uint8Array(7) } },
  HEADER_TOO_LARGE: st("{}", 0, 100_000_001),
  HEADER_BEYOND_FILE: st("{}", 0, 1000),
  HEADER_NOT_UTF8: { argv: CHECK_ST, files: { "x.safetensors": Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0xff) } },
  HEADER_NOT_JSON: st("{"),
  HEADER_TOO_DEEP: st(`{"a":${"[".repeat(9)}${"]".repeat(9)}}`.replace('"a":', '"a":{"x":').replace(/\}$/, "}}")),
  DUPLICATE_KEY: st(`{"a":${JSON.stringify(f32Entry([1]))},"a":${JSON.stringify(f32Entry([1]))}}`, 4),
  NUMBER_INVALID: st({ a: { ...f32Entry([1]), shape: [-1] } }, 4),
  LIMIT_EXCEEDED: st({ a: { ...f32Entry([1]), shape: Array<number>(65).fill(1) } }, 4),
  METADATA_INVALID: st({ __metadata__: { a: 1 } }),
  ENTRY_INVALID: st({ a: [] }),
  DTYPE_UNKNOWN: st({ a: { ...f32Entry([1]), dtype: "F31" } }, 4),
  SHAPE_OVERFLOW: st({ a: { ...f32Entry([1]), shape: [2 ** 40, 2 ** 40] } }, 4),
  SUB_BYTE_MISALIGNED: st({ a: { dtype: "F4", shape: [3], data_offsets: [0, 2] } }, 2),
  OFFSETS_REVERSED: st({ a: { ...f32Entry([1]), data_offsets: [4, 0] } }, 4),
  SIZE_MISMATCH: st({ a: { ...f32Entry([2]), data_offsets: [0, 4] } }, 4),
  DATA_OVERLAP: st({ a: f32Entry([2]), b: f32Entry([1], 4) }, 8),
  DATA_HOLE: st({ a: f32Entry([1], 4) }, 8),
  DATA_BEYOND_FILE: st({ a: f32Entry([2]) }, 4),
  TRAILING_BYTES: st({ a: f32Entry([1]) }, 5),
  TENSOR_UNKNOWN: cannot("TENSOR_UNKNOWN", OUR_CODE, 2),
  RANGE_OUTSIDE_TENSOR: cannot("RANGE_OUTSIDE_TENSOR", OUR_CODE, 2),
  DTYPE_NOT_CONVERTIBLE: cannot("DTYPE_NOT_CONVERTIBLE", "models and adapters refuse such a dtype by name before", 2),
  DATA_LENGTH: cannot("DATA_LENGTH", OUR_CODE, 2),
  NAME_INVALID: cannot("NAME_INVALID", OUR_CODE, 2),
  MODEL_MISSING: model({}),
  MODEL_AMBIGUOUS: model({ "model/model.safetensors": safetensorsBytes({}), [INDEX]: index({ a: "b.safetensors" }) }),
  INDEX_INVALID: model({ [INDEX]: "{}" }),
  PATH_NOT_PLAIN: model({ [INDEX]: index({ a: "../secret" }) }),
  PATH_OUTSIDE: model(
    { [INDEX]: index({ a: "link.safetensors" }), "outside.safetensors": safetensorsBytes({}) },
    (cwd) => symlinkSync(join(cwd, "outside.safetensors"), join(cwd, "model", "link.safetensors")),
  ),
  FILE_NOT_IN_FOLDER: model({ [INDEX]: index({ a: "b.safetensors" }) }),
  TENSOR_NOT_IN_SHARD: model({ [INDEX]: index({ a: "b.safetensors" }), "model/b.safetensors": safetensorsBytes({}) }),
  TENSOR_IN_WRONG_SHARD: model({
    [INDEX]: index({ a: "c.safetensors", d: "b.safetensors" }),
    "model/b.safetensors": safetensorsBytes({ a: f32Entry([1]), d: f32Entry([1], 4) }, 8),
    "model/c.safetensors": safetensorsBytes({}),
  }),
  TENSOR_NOT_IN_INDEX: model({
    [INDEX]: index({ d: "b.safetensors" }),
    "model/b.safetensors": safetensorsBytes({ a: f32Entry([1]), d: f32Entry([1], 4) }, 8),
  }),
  // models
  CONFIG_INVALID: model(modelFolder("model", { config: { hidden_size: 0 } })),
  ARCHITECTURE_UNSUPPORTED: model(modelFolder("model", { config: { model_type: "bert" } })),
  TENSOR_MISSING: model({ "model/model.safetensors": safetensorsBytes({}) }),
  TENSOR_UNEXPECTED: model(modelFolder("model", { weights: true, config: { num_hidden_layers: 1 } })),
  TENSOR_MISMATCH: model(modelFolder("model", { weights: true, config: { vocab_size: 301 } })),
  CONTEXT_TOO_LONG: { argv: ["generate", "--model", "model", "--prompt", "a".repeat(128)], files: MODEL_WITH_WEIGHTS },
  // lora
  TARGET_UNMATCHED: adapter({ target_modules: ["v_proj"] }, { [A]: f32Entry([2, 4]), [B]: f32Entry([4, 2], 32) }),
  ADAPTER_CONFIG_INVALID: adapter({ r: 0 }, {}),
  ADAPTER_UNSUPPORTED: adapter({ lora_bias: true }, {}),
  ADAPTER_TENSOR_MISSING: adapter({}, { [A]: f32Entry([2, 4]) }),
  ADAPTER_TENSOR_UNEXPECTED: adapter(
    {},
    { [A]: f32Entry([2, 4]), [B]: f32Entry([4, 2], 32), extra: f32Entry([1], 64) },
  ),
  ADAPTER_TENSOR_MISMATCH: adapter({ r: 3 }, { [A]: f32Entry([2, 4]), [B]: f32Entry([4, 2], 32) }),
  ADAPTERS_INCOMPATIBLE: {
    argv: ["adapter", "diff", "a", "b"],
    files: {
      ...adapterFiles("a", {}, { [A]: f32Entry([2, 4]), [B]: f32Entry([4, 2], 32) }),
      ...adapterFiles("b", {}, { [A]: f32Entry([2, 4]), [B]: f32Entry([5, 2], 32) }),
    },
  },
  COMBINATION_INVALID: {
    files: adapterFiles("a", {}, { [A]: f32Entry([2, 4]), [B]: f32Entry([4, 2], 32) }),
    argv: ["adapter", "merge", "a", "--type", "ties", "--out", "c"],
  },
  MERGE_UNSUPPORTED: {
    argv: ["merge", "--model", "model", "--adapter", "a", "--out", "merged"],
    files: {
      ...MODEL,
      "model/model.safetensors": safetensorsBytes({}),
      ...Object.fromEntries(
        ["adapter_config.json", "adapter_model.safetensors"].map((name) => [
          `a/${name}`,
          readFileSync(new URL(`../../../fixtures/goldens/lora/llama_qkvo/adapter/${name}`, import.meta.url)),
        ]),
      ),
    },
  },
  QUANT_UNSUPPORTED: model({
    ...MODEL_WITH_WEIGHTS,
    "model/config.json": quantized({ quant_method: "gptq", bits: 4 }),
  }),
  QUANT_INVALID: model({
    ...MODEL_WITH_WEIGHTS,
    "model/config.json": quantized({ quant_method: "bitsandbytes", load_in_4bit: "yes" }),
  }),
  QUANT_TENSOR_MISSING: model(nf4("q_proj.weight.absmax", "q_proj.weight.absent")),
  QUANT_TENSOR_MISMATCH: model(nf4('q_proj.weight.absmax":{"dtype":"U8"', 'q_proj.weight.absmax":{"dtype":"I8"')),
  WEIGHT_NOT_FINITE: {
    argv: ["quantize", "--model", "model", "--out", "four"],
    files: { ...MODEL, "model/model.safetensors": withInfinity() },
  },
  // sft
  NON_FINITE: {
    argv: ["train", "run.yaml", "--set", "train.learning_rate=1e38", "--set", "output=out/run"],
    files: {
      ...MODEL_WITH_WEIGHTS,
      "run.yaml": `${MINIMAL}train: {max_steps: 4, warmup_steps: 0, batch_size: 1}\n`,
      "d.jsonl": '{"text":"abc"}',
    },
    exit: 3,
  },
  MEMORY_BUDGET: {
    argv: ["train", "run.yaml", "--memory-budget", "10kB"],
    files: { ...MODEL_WITH_WEIGHTS, "run.yaml": MINIMAL, "d.jsonl": '{"text":"abc"}' },
    exit: 4,
  },
  CHECKPOINT_MISSING: {
    argv: ["train", "run.yaml", "--resume"],
    files: { ...MODEL, "run.yaml": MINIMAL, "d.jsonl": '{"text":"abc"}', "run/metrics.jsonl": "" },
  },
  CHECKPOINT_UNSOUND: cannot("CHECKPOINT_UNSOUND", "an unsound checkpoint is skipped with a message", 2),
  CHECKPOINT_CHANGED: cannot("CHECKPOINT_CHANGED", "needs a trained run: see commands/resume.test.ts", 2),
  HANDOVER_UNSOUND: { argv: ["check", "run"], files: { "run/sft.json": '{"format_version": 9}' } },
  HANDOVER_CHANGED: {
    argv: ["check", "run"],
    files: {
      "run/adapter/tokenizer.json": "{}",
      "run/sft.json": JSON.stringify({
        format_version: 1,
        method: "lora",
        base: { path: "model", sha256: "0" },
        adapter: "adapter",
        model: null,
        sha256: "0",
        tokenizer_sha256: "0",
        config_sha256: "0",
        chat_template: null,
        chat_template_sha256: null,
        eos_ids: [2],
        max_length: 8,
        seed: 0,
        steps: 1,
        kept_step: 1,
      }),
    },
  },
  UNFREEZE_UNMATCHED: {
    argv: ["train", "run.yaml", "--set", "tune={method: freeze, unfreeze: [model.layers.9]}"],
    files: { ...MODEL_WITH_WEIGHTS, "run.yaml": MINIMAL, "d.jsonl": '{"text":"abc"}' },
  },
  NO_ROWS: cannot("NO_ROWS", "a file without a target is refused when it is read", 2),
  // tensor, optim
  SHAPE_MISMATCH: cannot("SHAPE_MISMATCH", OUR_CODE, 1),
  DTYPE_MISMATCH: cannot("DTYPE_MISMATCH", OUR_CODE, 1),
  RECORDING: cannot("RECORDING", OUR_CODE, 1),
  TENSOR_DISPOSED: cannot("TENSOR_DISPOSED", OUR_CODE, 1),
  DEVICE_VALIDATION: cannot("DEVICE_VALIDATION", OUR_CODE, 1),
  DEVICE_LOST: cannot("DEVICE_LOST", "a driver must fail", 4),
  OUT_OF_MEMORY: cannot("OUT_OF_MEMORY", "the GPU must be full", 4),
  PROFILER_UNAVAILABLE: cannot("PROFILER_UNAVAILABLE", "needs a GPU without a clock for programs", 4),
  PROFILER_ACTIVE: cannot("PROFILER_ACTIVE", OUR_CODE, 1),
  PARAMETER_DUPLICATE: cannot("PARAMETER_DUPLICATE", OUR_CODE, 1),
  PARAMETER_UNKNOWN: cannot("PARAMETER_UNKNOWN", OUR_CODE, 1),
  PARAMETER_SPLIT: cannot("PARAMETER_SPLIT", OUR_CODE, 1),
  PARAMETER_TOO_LARGE: cannot(
    "PARAMETER_TOO_LARGE",
    "one row of a matrix must be larger than the GPU's largest binding",
    4,
  ),
  MOMENT_UNKNOWN: cannot("MOMENT_UNKNOWN", OUR_CODE, 1),
  PARAMETER_LENGTH: cannot("PARAMETER_LENGTH", OUR_CODE, 1),
  OPTION_INVALID: cannot("OPTION_INVALID", REFUSED_BEFORE, 2),
  // node
  NO_DEVICE: { argv: ["doctor", "--device", "no such GPU"], files: {}, exit: 4 },
  DEVICE_TOO_SMALL: cannot("DEVICE_TOO_SMALL", "needs another GPU", 4),
  // the command line itself
  COMMAND_UNKNOWN: { argv: ["trian"], files: {} },
  FLAG_UNKNOWN: { argv: ["check", "x", "--jsom"], files: {} },
  FLAG_INVALID: { argv: ["generate", "--model", "m", "--prompt", "p", "--top-k", "many"], files: {} },
  FLAG_MISSING: { argv: ["generate"], files: {} },
  FLAG_CONFLICT: { argv: ["render", "--messages", "a", "--batch", "b"], files: {} },
  INPUT_INVALID: { argv: ["check", "x.txt"], files: { "x.txt": "" } },
  CONFIG_SYNTAX: config("a: [1"),
  CONFIG_KEY_UNKNOWN: config(`${MINIMAL}sede: 1\n`),
  CONFIG_KEY_MISSING: config("model: m\n"),
  CONFIG_VALUE_INVALID: config(`${MINIMAL}seed: -1\n`),
  CONFIG_CONFLICT: config(`${MINIMAL}train: {epochs: 1, max_steps: 1}\n`),
  OUTPUT_EXISTS: { argv: ["train", "run.yaml"], files: { ...MODEL, "run.yaml": MINIMAL, "run/metrics.jsonl": "" } },
  OUTPUT_NOT_A_RUN: {
    argv: ["train", "run.yaml", "--overwrite"],
    files: { ...MODEL, "run.yaml": MINIMAL, "run/thesis.txt": "" },
  },
  NOT_SUPPORTED: config(`${MINIMAL}tune: {init_lora_weights: pissa_niter_4}\n`),
  SYSTEM_ERROR: {
    argv: ["inspect", "run.yaml", "--html", "model"],
    files: { ...MODEL, "run.yaml": MINIMAL, "d.jsonl": '{"text":"a"}' },
  },
  SELF_CHECK: cannot("SELF_CHECK", "a kernel must be wrong: see self-check.test.ts", 3),
  DISK_FULL: cannot("DISK_FULL", "a disk must be full: see checkpoint-faults.test.ts", 2),
  DAWN_UNLOADABLE: cannot("DAWN_UNLOADABLE", "the system must lack a library", 4),
  INTERRUPTED: cannot("INTERRUPTED", "a signal must arrive: cli.test.ts sends one", 2),
};

/** The error of a document: its own, or that of the item `check` found bad. */
function errorOf(document: CliDocument): CliDocument["error"] {
  const items = document["items"] as { error?: CliDocument["error"] }[] | undefined;
  return document.error ?? items!.find((item) => item.error)!.error!;
}

function hashOf(folder: string): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).toSorted()) {
    hash.update(`${name}\0`);
    try {
      hash.update(readFileSync(join(folder, name)));
    } catch {
      // a folder: its name is enough
    }
  }
  return hash.digest("hex");
}

/** Runs a case with some flags more. */
async function attempt(tested: Case, cwd: string, flags: readonly string[]): ReturnType<typeof runCli> {
  if ("argv" in tested) return runCli([...tested.argv, ...flags], { cwd });
  vi.spyOn(check, "run").mockRejectedValue(tested.thrown);
  return runCli(["check", "x", ...flags], { cwd }).finally(() => vi.restoreAllMocks());
}

describe.each(Object.entries(CASES) as [ErrorCode, Case][])("%s", (code, tested) => {
  test("exit code, code, message and fix; no stack; nothing written", async () => {
    const files = "files" in tested ? tested.files : {};
    const cwd = folderWith(files);
    if ("prepare" in tested) await tested.prepare?.(cwd);
    const before = hashOf(cwd);

    const result = await attempt(tested, cwd, ["--json"]);
    const { message, fix, ...error } = errorOf(result.document());
    expect({ code: error.code, exit: result.exitCode }).toEqual({ code, exit: tested.exit ?? 2 });
    expect(message.length).toBeGreaterThan(10);
    expect(fix, `${code} has no fix: ${message}`).toBeTypeOf("string");
    expect(result.stdout).not.toContain("\\n    at ");
    // a run that began before it failed leaves its log; nothing else may leave anything
    if (code !== "NON_FINITE") expect(hashOf(cwd)).toBe(before);

    const text = await attempt(tested, folderWith(files), []);
    expect(text.stdout + text.stderr).not.toMatch(/^ {4}at /m);
  });
});

test("an error of another copy of a package is recognised by its mark", async () => {
  const foreign = Object.assign(
    Object.create(Error.prototype) as InputError,
    new InputError("FILE_MISSING", "gone", { path: "x" }),
  );
  Object.defineProperty(foreign, Symbol.for("tunesmith.error"), { value: true });
  Object.assign(foreign, { message: "gone", toJSON: () => ({ code: "FILE_MISSING", message: "gone" }) });
  vi.spyOn(check, "run").mockRejectedValue(foreign);
  const result = await runCli(["check", "x", "--json"]).finally(() => vi.restoreAllMocks());
  expect([result.exitCode, result.document().error.code]).toEqual([2, "FILE_MISSING"]);
});
