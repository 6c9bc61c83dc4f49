// Adapters and models cross between this repository and transformers, PEFT and bitsandbytes in both directions; logits
// decide. Run by `npm run test:interop`.
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  computeStart,
  fourBitCodec,
  type LoraConfig,
  moduleRank,
  peftNames,
  readPeftConfig,
  resolveTargets,
  writePeft,
} from "@tunesmith/lora";
import { linearPaths, loadModel, type Model, readModelConfig } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { openModel, openSafetensors, toF32 } from "@tunesmith/safetensors";
import { loadAdapter, tuneLora } from "@tunesmith/sft";
import type { Device } from "@tunesmith/tensor";
import { matmul, seededNormals } from "@tunesmith/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { folderWith, runCli } from "../support/cli.ts";
import { testDevice } from "../support/device.ts";
import { maxError } from "../support/goldens.ts";
import { ADAPTERS, BASES, IDS, QUANTIZED, STARTS } from "./cases.ts";
import { logitsOf } from "../support/logits.ts";
import { modelFolder } from "../support/model-folder.ts";
import { runPython } from "./python.ts";

/** What open.py says about one case. */
interface Opened {
  readonly logits: readonly number[];
  readonly warnings: readonly string[];
  readonly missing_keys: readonly string[];
  readonly unexpected_keys: readonly string[];
  readonly mismatched_keys: readonly string[];
  /** tensors of an adapter that PEFT names or reads otherwise */
  readonly different?: readonly string[];
}

const TOLERANCE = 1e-4;
/** torch decomposes in f32: 1.5e-5 off where singular values lie close, on weights of 0.2. */
const START_TOLERANCE = 1e-4;
const WORKS = { missing_keys: [], unexpected_keys: [], mismatched_keys: [], warnings: [] };

/** PEFT says so whenever a tied weight is among modules_to_save. */
const UNTIED = "Model has `tie_word_embeddings=True` and a tied layer is part of the adapter";

const folder = mkdtempSync(join(tmpdir(), "tunesmith-interop-"));
const at = (...parts: string[]): string => join(folder, ...parts);
afterAll(() => rmSync(folder, { recursive: true }));

const files = nodeFiles();
let device: Device;
/** logits by base and by adapter, from make.py */
let theirs: Record<string, number[]>;
/** from open.py, and our own logits of the same */
let opened: Record<string, Opened>;
const ours = new Map<string, Float32Array>();

const load = (model: string): Promise<Model> => loadModel(device, files, model, { codec: fourBitCodec() });

beforeAll(async () => {
  device = await testDevice();
  const request = { folder, ids: IDS, bases: BASES, adapters: ADAPTERS, quantize: QUANTIZED, starts: STARTS };
  theirs = runPython("make.py", request, at("logits.json"));
  const cases = [await writeAdapters(), await writeModels(), await trainAdapters(), await trainModels()].flat();
  opened = runPython("open.py", { out: at("report.json"), ids: IDS, cases }, at("report.json"));
}, 600_000);

/** A new adapter of every kind on a base that PEFT made, every tensor of it moved away from its start. */
async function writeAdapters(): Promise<object[]> {
  const cases: object[] = [];
  for (const [name, { base }] of Object.entries(ADAPTERS)) {
    const model = await load(at(base));
    const tuning = tuneLora(model, kind(name), { seed: 1 });
    for (const [i, parameter] of tuning.store.names.entries()) {
      const values = await tuning.store.read(parameter, "values");
      const noise = seededNormals(values.length, i + 1);
      tuning.store.write(
        parameter,
        "values",
        values.map((value, k) => value + 0.1 * noise[k]!),
      );
    }
    const to = at(`ours-${name}`);
    await writePeft(files, to, tuning.adapter, at(base));
    ours.set(name, await logitsOf(model, tuning.adapter, IDS));
    cases.push({ name, base: at(base), adapter: to });
    tuning.adapter.dispose();
    tuning.store.dispose();
    model.dispose();
  }
  return cases;
}

/** Merged and quantized models, written by the command line. */
async function writeModels(): Promise<object[]> {
  const written: [name: string, command: string[]][] = [
    ...MERGED.map((name): [string, string[]] => [
      `merged ${name}`,
      ["merge", "--model", at(ADAPTERS[name]!.base), "--adapter", at(`ours-${name}`)],
    ]),
    ["requantized qlora", ["merge", "--requantize", "--model", at("llama4bit"), "--adapter", at("ours-qlora")]],
    ...["nf4", "fp4"].map((type): [string, string[]] => [
      `quantized ${type}`,
      ["quantize", "--model", at("llama64"), "--type", type, "--double-quant"],
    ]),
  ];
  const cases: object[] = [];
  for (const [name, command] of written) {
    const out = at(name.replace(" ", "-"));
    const { exitCode, stderr } = await runCli([...command, "--out", out]);
    expect(exitCode, stderr).toBe(0);
    const model = await load(out);
    ours.set(name, await logitsOf(model, undefined, IDS));
    model.dispose();
    cases.push({ name, base: out });
  }
  return cases;
}

/** What `tunesmith train` leaves behind, by the config's `tune`. */
const TRAINED: Readonly<Record<string, string>> = {
  "LoRA with dropout":
    "{r: 4, alpha: 8, use_rslora: true, dropout: 0.1, loraplus_lr_ratio: 4, init_lora_weights: gaussian}",
  "DoRA with patterns": '{r: 4, alpha: 8, use_dora: true, rank_pattern: {"layers.0.*": 2}, exclude_modules: [o_proj]}',
  "rows of tokens": '{r: 4, alpha: 8, target_modules: [q_proj], train_new_tokens: ["1", "+", "="]}',
  "what PiSSA becomes": "{r: 4, alpha: 8, init_lora_weights: pissa}",
  "a head and an embedding": "{r: 4, alpha: 8, target_modules: [q_proj], modules_to_save: [lm_head, embed_tokens]}",
};

/** What trains weights of the model itself. */
const TRAINED_MODELS: Readonly<Record<string, string>> = {
  "all weights": "{method: full}",
  "one layer and the norm": "{method: freeze, unfreeze: [model.layers.1, model.norm]}",
};

/** A finished run; the folder around it. */
async function trainRun(tune: string): Promise<string> {
  const cwd = folderWith({
    ...modelFolder("model", { weights: true }),
    "rows.jsonl": Array.from({ length: 12 }, (_, i) => `{"prompt": "${i}+1=", "completion": "${i + 1}"}\n`).join(""),
    "run.yaml": `model: model
output: run
data: {train: [{path: rows.jsonl}]}
tune: ${tune}
train: {max_steps: 8, batch_size: 4, learning_rate: 1.0e-2, weight_decay: 0.01}
checkpoint: {every: 4}
`,
  });
  const { exitCode, stderr } = await runCli(["train", "run.yaml"], { cwd });
  if (exitCode !== 0) throw new Error(stderr);
  return cwd;
}

/** The last state and that of a checkpoint. */
async function trainModels(): Promise<object[]> {
  const cases: object[] = [];
  for (const [name, tune] of Object.entries(TRAINED_MODELS)) {
    const cwd = await trainRun(tune);
    for (const [which, folder] of [
      [name, join(cwd, "run", "model")],
      [`base of ${name}`, join(cwd, "model")],
      [`checkpoint of ${name}`, join(cwd, "run", "checkpoints", "step-4", "model")],
    ] as const) {
      const model = await load(folder);
      ours.set(which, await logitsOf(model, undefined, IDS));
      model.dispose();
      cases.push({ name: which, base: folder });
    }
  }
  return cases;
}

test.each(Object.keys(TRAINED_MODELS))("`train`: %s opens in transformers, and gives the same logits", (name) => {
  for (const which of [name, `checkpoint of ${name}`]) {
    const { logits, ...said } = opened[which]!;
    expect(said).toEqual(WORKS);
    expect(maxError(ours.get(`base of ${name}`)!, logits)).toBeGreaterThan(1e-2);
    expect(maxError(ours.get(which)!, logits)).toBeLessThan(TOLERANCE);
  }
});

async function trainAdapters(): Promise<object[]> {
  const cases: object[] = [];
  for (const [name, tune] of Object.entries(TRAINED)) {
    const cwd = await trainRun(tune);
    const model = await load(join(cwd, "model"));
    const plain = join(cwd, "run", "adapter-plain");
    const folder = existsSync(plain) ? plain : join(cwd, "run", "adapter");
    const adapter = await loadAdapter(model, files, folder);
    ours.set(name, await logitsOf(model, adapter, IDS));
    ours.set(`base of ${name}`, await logitsOf(model, undefined, IDS));
    adapter.dispose();
    model.dispose();
    cases.push({ name, base: join(cwd, "model"), adapter: folder });
  }
  return cases;
}

test.each(Object.keys(TRAINED))("`train`: %s opens in PEFT without a word, and gives the same logits", (name) => {
  const { logits, ...said } = opened[name]!;
  expect(said).toEqual({ ...WORKS, different: [] });
  expect(maxError(ours.get(`base of ${name}`)!, logits)).toBeGreaterThan(1e-2);
  expect(maxError(ours.get(name)!, logits)).toBeLessThan(TOLERANCE);
});

const MERGED = Object.keys(ADAPTERS).filter((name) => !(ADAPTERS[name]!.base in QUANTIZED));

/** The config of a case as this repository has it: what PEFT wrote, with the targets as they were asked for. */
function kind(name: string): LoraConfig {
  const path = at(name, "adapter_config.json");
  const { config } = readPeftConfig(readFileSync(path, "utf8"), path);
  return { ...config, targetModules: ADAPTERS[name]!.config["target_modules"] as string | string[] };
}

describe.each(Object.entries(ADAPTERS))("%s", (name, { base }) => {
  test("what PEFT wrote gives PEFT's logits here", async () => {
    const model = await load(at(base));
    const adapter = await loadAdapter(model, files, at(name));
    const logits = await logitsOf(model, adapter, IDS);
    expect(maxError(theirs[base]!, theirs[name]!)).toBeGreaterThan(1e-2);
    expect(maxError(logits, theirs[name]!)).toBeLessThan(TOLERANCE);
    adapter.dispose();
    model.dispose();
  });

  test("what was written here opens in PEFT without a word, and gives the same logits", () => {
    const { logits, warnings, ...said } = opened[name]!;
    expect({ ...said, warnings: warnings.filter((warning) => !warning.includes(UNTIED)) }).toEqual({
      ...WORKS,
      different: [],
    });
    expect(maxError(theirs[base]!, logits)).toBeGreaterThan(1e-2);
    expect(maxError(ours.get(name)!, logits)).toBeLessThan(TOLERANCE);
  });
});

describe.each(MERGED)("merged %s", (name) => {
  test("opens in transformers, with the logits of base and adapter", () => {
    const { logits, ...said } = opened[`merged ${name}`]!;
    expect(said).toEqual(WORKS);
    expect(maxError(ours.get(name)!, logits)).toBeLessThan(TOLERANCE);
    expect(maxError(ours.get(`merged ${name}`)!, logits)).toBeLessThan(TOLERANCE);
  });
});

test("an adapter merged into four bits opens in transformers and bitsandbytes, with the logits that it has here", () => {
  const { logits, ...said } = opened["requantized qlora"]!;
  expect(said).toEqual(WORKS);
  expect(maxError(ours.get("requantized qlora")!, logits)).toBeLessThan(TOLERANCE);
  expect(maxError(theirs["llama4bit"]!, logits)).toBeGreaterThan(1e-2);
});

describe.each([...Object.keys(BASES), ...Object.keys(QUANTIZED)])("base %s", (name) => {
  test("has the logits here that transformers and bitsandbytes give", async () => {
    const model = await load(at(name));
    expect(maxError(await logitsOf(model, undefined, IDS), theirs[name]!)).toBeLessThan(TOLERANCE);
    model.dispose();
  });
});

test.each(Object.entries(STARTS))(
  "%s: what adapter and base begin with is PEFT's",
  async (name, { base, kind, config }) => {
    const asked = readPeftConfig(JSON.stringify({ peft_type: "LORA", ...config }), name).config;
    const sizes = linearPaths(await readModelConfig(files, at(base)));
    const targets = resolveTargets(asked, sizes.keys());
    const quantize = (): { type: "nf4"; blockSize: number; doubleQuant: boolean } => ({
      type: "nf4",
      blockSize: 64,
      doubleQuant: false,
    });
    const original = await openModel(files, at(base));
    const values = await computeStart(kind, original, { config: asked, targets, sizes, quantize });
    const theirs = await openSafetensors(files, at(`${name}.safetensors`));
    expect([...theirs.tensors.keys()].toSorted()).toEqual(
      targets.flatMap((path) => [`${path}.product`, `${path}.rest`]).toSorted(),
    );
    for (const path of targets) {
      const { in: ins, out, layout } = sizes.get(path)!;
      const { r, scale } = moduleRank(asked, path);
      const [a, b] = [values.get(peftNames(path).a)!, values.get(peftNames(path).b)!];
      const product = matmul(b, a, { m: out, k: r, n: ins }).map((value) => scale * value);
      const read = async (source: typeof theirs | typeof original, tensor: string): Promise<Float32Array> =>
        toF32(await source.read(tensor), "F32");
      expect(maxError(product, await read(theirs, `${path}.product`)), path).toBeLessThan(START_TOLERANCE);
      if (kind === "loftq") continue;
      const weight = await read(original, `${path}.weight`);
      const rest = product.map(
        (value, i) => weight[layout === "in_out" ? (i % ins) * out + Math.floor(i / ins) : i]! - value,
      );
      expect(maxError(rest, await read(theirs, `${path}.rest`)), path).toBeLessThan(START_TOLERANCE);
    }
    await original.close();
    await theirs.close();
  },
);

test.each(["nf4", "fp4"])("a folder quantized here to %s opens in transformers and bitsandbytes", (type) => {
  const { logits, ...said } = opened[`quantized ${type}`]!;
  expect(said).toEqual(WORKS);
  expect(maxError(ours.get(`quantized ${type}`)!, logits)).toBeLessThan(TOLERANCE);
  expect(maxError(theirs["llama64"]!, logits)).toBeGreaterThan(1e-2);
});
