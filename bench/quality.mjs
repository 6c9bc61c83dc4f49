// What the method of tuning and the options of LoRA do to loss, speed and memory on one real task: the same steps over the same
// rows in the same order, through `tunesmith train`, one variant after the other.
//   npm run build && node bench/quality.mjs [--fixtures DIR] [--variant NAME …] [--seeds 0,1,2] [--torch PYTHON] [--out FILE]
// --fixtures  holds models/stories260K, models/stories260K-bf16-sharded and data/gsm8k; default: $TUNESMITH_FIXTURES, else
//             shared/fixtures beside the repository
// --variant   may be repeated; default: all of bench/lib/quality-variants.mjs
// --seeds     of the adapter's start; methods without one train on another part of the rows; "" for none; figures are medians
// --with      JSON lines of an earlier run of the same steps, whose results count as well; may be repeated
// --torch     a Python with torch, transformers, peft and bitsandbytes: they train beside us, from the same adapter or weights
// Speed is that of the fastest tenth of the steps, which other load on the machine disturbs least.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { jsonLines } from "./lib/child.mjs";
import { VARIANTS } from "./lib/quality-variants.mjs";
import { report } from "./lib/report.mjs";
import { median } from "./lib/stats.mjs";

/** @import { Variant } from "./lib/quality-variants.mjs" */

const root = resolve(import.meta.dirname, "..");
const { values: options } = parseArgs({
  options: {
    fixtures: {
      type: "string",
      default: process.env["TUNESMITH_FIXTURES"] ?? resolve(root, "..", "shared", "fixtures"),
    },
    variant: { type: "string", multiple: true, default: Object.keys(VARIANTS) },
    seeds: { type: "string", default: "0,1,2" },
    steps: { type: "string", default: "200" },
    with: { type: "string", multiple: true, default: [] },
    torch: { type: "string" },
    out: { type: "string" },
  },
});
const seeds = options.seeds.split(",").filter(Boolean).map(Number);
const steps = Number(options.steps);
const variants = options.variant.map((name) => ({ name, ...variantOf(name) }));
const work = mkdtempSync(join(tmpdir(), "tunesmith-quality-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));

/** @param {string} name @returns {Variant} */
function variantOf(name) {
  const found = VARIANTS[name];
  if (found === undefined) throw new Error(`unknown variant ${name}; known: ${Object.keys(VARIANTS).join(", ")}`);
  if (!existsSync(join(options.fixtures, "models", found.model ?? "stories260K", "config.json")))
    throw new Error(`${options.fixtures} has no models/${found.model ?? "stories260K"}: name it with --fixtures`);
  return found;
}

/** @param {Variant["tune"]} tune */
const hasAdapter = ({ method = "lora" }) => method === "lora" || method === "qlora";

/** A file that begins with another line. @param {string} path @param {number} first from 0 @returns {string} */
function part(path, first) {
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  const at = first % lines.length;
  const out = join(work, "train.jsonl");
  writeFileSync(out, [...lines.slice(at), ...lines.slice(0, at)].join("\n"));
  return out;
}

/** @param {Variant} variant @param {number} seed @param {string} output */
function configOf({ model = "stories260K", tune, train = {} }, seed, output) {
  const map = { prompt: "Question: {{question}}\nAnswer: ", completion: "{{answer}}" };
  const rows = (/** @type {string} */ path, /** @type {number} */ max) => [{ path, name: "gsm8k", map, max_rows: max }];
  const file = (/** @type {string} */ name) => join(options.fixtures, "data", "gsm8k", name);
  // rows beyond 512 ids are dropped: about one in eight
  const needed = Math.ceil(steps * 10.5);
  return {
    model: join(options.fixtures, "models", model),
    output,
    seed,
    data: {
      train: rows(hasAdapter(tune) ? file("train.jsonl") : part(file("train.jsonl"), seed * needed), needed),
      eval: rows(file("test.jsonl"), 64),
      max_length: 512,
      overlong: "drop",
      shuffle: false,
      cache: join(work, "rows"),
    },
    tune,
    train: { max_steps: steps, batch_size: 8, learning_rate: 2e-3, ...train },
    eval: { every: steps },
    checkpoint: { every: steps },
    gates: { max_lost: 0.5 },
  };
}

/** Runs a command of ours on a config; its document. @param {string} command @param {ReturnType<typeof configOf>} config */
function tunesmith(command, config, /** @type {readonly string[]} */ flags = []) {
  const path = join(work, "run.yaml");
  writeFileSync(path, JSON.stringify(config)); // JSON is YAML
  const [document] = jsonLines(process.execPath, [
    join(root, "bin", "tunesmith.mjs"),
    ...command.split(" "),
    path,
    "--json",
    ...flags,
  ]);
  return document;
}

/** @param {string} path of JSON lines @returns {any[]} */
function jsonOf(path) {
  const lines = readFileSync(path, "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line));
}

/** @param {readonly number[]} values the value that a tenth of them reaches */
const fastest = (values) => values.toSorted((a, b) => b - a)[Math.floor(values.length / 10)] ?? Number.NaN;

/** @param {Variant} variant @param {number} seed */
function ours(variant, seed) {
  const output = join(work, "run");
  const document = tunesmith("train", configOf(variant, seed, output), ["--overwrite"]);
  const plan = JSON.parse(readFileSync(join(output, "plan.json"), "utf8"));
  const lines = jsonOf(join(output, "metrics.jsonl"));
  const saved = join(document.adapter ?? "", "adapter_model.safetensors");
  return {
    framework: "tunesmith",
    start_loss: lines.find((line) => line.step === 0)?.eval_loss,
    eval_loss: document.eval.loss,
    eval_targets: document.eval.targets,
    tokens_per_second: fastest(lines.flatMap((line) => (line.timing ? [line.timing.tokens_per_second] : []))),
    trained: plan.parameters.trainable,
    base_bytes: plan.categories.weights,
    adapter_bytes: plan.categories.adapter,
    optimizer_bytes: plan.categories.optimizer,
    peak_bytes: plan.peak_bytes,
    saved_bytes: existsSync(saved) ? statSync(saved).size : undefined,
    seconds: document.seconds,
  };
}

/** torch from the adapter or weights that our run starts with, over the rows that it sees. @param {Variant} variant @param {number} seed */
function peers(variant, seed) {
  const config = configOf(variant, seed, join(work, "start"));
  const { method, unfreeze } = variant.tune;
  const prepared = tunesmith("data prepare", config);
  const folderOf = (/** @type {string} */ file) =>
    prepared.files.find((/** @type {{ path: string }} */ { path }) => path.endsWith(file)).folder;
  const job = {
    model: config.model,
    adapter: hasAdapter(variant.tune) ? startOf(config) : null,
    trained: unfreeze ?? [""], // beginnings of names
    train: folderOf("train.jsonl"),
    eval: folderOf("test.jsonl"),
    four_bit: method === "qlora",
    batch_size: 8,
    steps,
    learning_rate: config.train.learning_rate,
    warmup: Math.ceil(0.03 * steps),
  };
  const [result] = jsonLines(options.torch ?? "", [
    join(root, "bench", "children", "quality_torch.py"),
    JSON.stringify(job),
  ]);
  return result;
}

/** The adapter before its first step: that of a warm-up has a rate of 0. @param {ReturnType<typeof configOf>} config */
function startOf(config) {
  return tunesmith("train", { ...config, train: { ...config.train, max_steps: 1 } }, ["--overwrite"]).adapter;
}

/** @type {Record<string, any>[]} */
const results = options.with.flatMap((path) =>
  jsonOf(path).filter((line) => "eval_loss" in line && variants.some(({ name }) => name === line.variant)),
);
for (const seed of seeds)
  for (const variant of variants) {
    for (const side of options.torch ? [ours, peers] : [ours]) {
      const result = { variant: variant.name, seed, ...side(variant, seed) };
      console.error(JSON.stringify(result));
      results.push(result);
    }
  }

/** @param {string} variant @param {string} key */
const of = (variant, key, framework = "tunesmith") =>
  median(
    results.filter((r) => r["variant"] === variant && r["framework"] === framework).map((r) => r[key] ?? Number.NaN),
  );
const torch = results.some(({ framework }) => framework === "torch");
const loss = (/** @type {number} */ value) => (Number.isNaN(value) ? "–" : value.toFixed(4));
const kilobytes = (/** @type {number} */ bytes) => (bytes / 1e3).toFixed(0);
const { out, torch: _, fixtures: __, with: ___, ...settings } = options;
report({
  lines: [{ benchmark: "quality", node: process.version, ...settings }, ...results],
  columns: [
    "variant",
    "eval loss",
    ...(torch ? ["torch's"] : []),
    "tokens/s",
    "seconds",
    "trained",
    "base KB",
    "adapter KB",
    "optimizer KB",
  ],
  rows: variants.map(({ name }) => [
    name,
    loss(of(name, "eval_loss")),
    ...(torch ? [loss(of(name, "eval_loss", "torch"))] : []),
    of(name, "tokens_per_second"),
    of(name, "seconds"),
    of(name, "trained"),
    kilobytes(of(name, "base_bytes")),
    kilobytes(of(name, "adapter_bytes")),
    kilobytes(of(name, "optimizer_bytes")),
  ]),
  out,
});
