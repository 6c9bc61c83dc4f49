// modules_to_save and trainable_token_indices against transformers: at the base's weights the gradients of head and
// embedding, or of some of their rows, are those of full fine-tuning. Then forward, scoring, generation, saving and merging of weights that have moved.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writePeft } from "@tunesmith/lora";
import { Generator, loadModel, type Model } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { loadAdapter, ScorePrograms, tuneLora } from "@tunesmith/sft";
import type { Device } from "@tunesmith/tensor";
import { seededNormals } from "@tunesmith/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../support/cli.ts";
import { testDevice } from "../support/device.ts";
import { runSteps } from "../support/golden-training.ts";
import { goldenPath, gradientError, maxError, readGolden } from "../support/goldens.ts";
import { logitsOf } from "../support/logits.ts";

const HEAD = "base_model.model.lm_head.weight";
const EMBEDDING = "base_model.model.model.embed_tokens.weight";
const IDS = Array.from({ length: 16 }, (_, i) => 3 + ((i * i * 7 + i * 5) % 250));
type Options = Parameters<typeof tuneLora>[1];
const config = (given: Partial<Options>): Options => ({
  r: 2,
  alpha: 4,
  useRslora: false,
  targetModules: ["q_proj"],
  ...given,
});
/** Some of them are among `IDS`. */
const TOKENS = [8, 250, 3, 15];

let device: Device;
beforeAll(async () => {
  device = await testDevice();
});

async function gradients(base: string, options: Partial<Options>): Promise<Map<string, Float32Array>> {
  const model = await loadModel(device, nodeFiles(), goldenPath("models", base));
  const tuned = tuneLora(model, config(options), { seed: 1 });
  const golden = readGolden("models", base, "golden_plain.safetensors");
  // a rate of 0 leaves all as it is, and AdamW's first moment is then (1 − β₁) times the gradient
  const run = { totalSteps: 1, window: () => [[0, 1]], lr: () => 0, clip: undefined, packing: true };
  const [step] = await runSteps(tuned, golden, run);
  expect(Math.abs(step!.loss - golden.get("loss")!.values[0]!)).toBeLessThan(2e-5);
  const moments = await tuned.store.readAll("m");
  tuned.store.dispose();
  model.dispose();
  return new Map([...moments].map(([name, m]) => [name, m.map((value) => value / 0.1)]));
}

test("head and embedding start as the base's and get the gradients of full fine-tuning", async () => {
  const found = await gradients("llama-untied", { modulesToSave: ["lm_head", "embed_tokens"] });
  const expected = readGolden("models", "llama-untied", "grads_plain.safetensors");
  expect(gradientError(found.get(HEAD)!, expected.get("lm_head.weight")!.values)).toBeLessThan(1e-4);
  expect(gradientError(found.get(EMBEDDING)!, expected.get("model.embed_tokens.weight")!.values)).toBeLessThan(1e-4);
});

test("of a tied base they are two weights, whose gradients add up to the tied one's", async () => {
  const found = await gradients("qwen2-tied", { modulesToSave: ["lm_head", "embed_tokens"] });
  const expected = readGolden("models", "qwen2-tied", "grads_plain.safetensors");
  const sum = found.get(HEAD)!.map((value, i) => value + found.get(EMBEDDING)![i]!);
  expect(gradientError(sum, expected.get("model.embed_tokens.weight")!.values)).toBeLessThan(1e-4);
});

// of a tied base both uses of a row add up
test.each(["llama-untied", "qwen2-tied"])("rows of tokens get the gradients of full fine-tuning, %s", async (base) => {
  const inText = [...new Set(readGolden("models", base, "golden_plain.safetensors").get("input_ids")!.values)];
  const ids = [inText[4]!, 250, inText[1]!];
  const tied = base === "qwen2-tied";
  const found = await gradients(base, { trainableTokens: tied ? ids : { embed_tokens: ids, lm_head: ids.slice(1) } });
  const expected = readGolden("models", base, "grads_plain.safetensors");
  let compared = 0;
  for (const [name, gradient] of found) {
    if (!name.endsWith("trainable_tokens_delta")) continue;
    const path = /^base_model\.model\.(.*)\.token_adapter/.exec(name)![1]!;
    const { values, shape } = expected.get(`${path}.weight`)!;
    const dim = shape[1]!;
    const rows = (path === "lm_head" ? ids.slice(1) : ids).flatMap((id) => [
      ...values.subarray(id * dim, (id + 1) * dim),
    ]);
    expect(Math.max(...rows.map(Math.abs))).toBeGreaterThan(1e-3);
    expect(gradientError(gradient, Float32Array.from(rows)), name).toBeLessThan(1e-4);
    compared++;
  }
  expect(compared).toBe(tied ? 1 : 2);
});

test.each<[string, string, string[], NonNullable<Options["bias"]>, number]>([
  ["biases of the targets", "qwen2-tied", ["q_proj", "v_proj", "o_proj"], "lora_only", 2], // o_proj has none
  ["all biases", "qwen2-tied", ["q_proj", "v_proj", "o_proj"], "all", 3],
  ["all biases, also of norms", "gpt2", ["c_attn"], "all", 6],
])("%s get the gradients of full fine-tuning, and no decay: %s", async (_, base, targetModules, bias, perLayer) => {
  const model = await loadModel(device, nodeFiles(), goldenPath("models", base));
  const tuned = tuneLora(model, { ...config({}), targetModules, bias }, { seed: 1 });
  const golden = readGolden("models", base, "golden_plain.safetensors");
  const options = { totalSteps: 1, window: () => [[0, 1]], lr: () => 0, clip: undefined, packing: true };
  const [step] = await runSteps(tuned, golden, options);
  expect(Math.abs(step!.loss - golden.get("loss")!.values[0]!)).toBeLessThan(2e-5);
  const expected = readGolden("models", base, "grads_plain.safetensors");
  const final = base === "gpt2" ? 1 : 0; // its last norm has one
  expect([...tuned.adapter.biases.keys()]).toHaveLength(perLayer * model.config.layers + final);
  for (const path of tuned.adapter.biases.keys()) {
    const own = tuned.adapter.modules.has(path) ? ".base_layer" : "";
    const m = await tuned.store.read(`base_model.model.${path}${own}.bias`, "m");
    const gradient = m.map((value) => value / 0.1);
    expect(gradientError(gradient, expected.get(`${path}.bias`)!.values), path).toBeLessThan(1e-4);
  }
  expect(tuned.store.layout.groups.map((group) => group.decay)).toEqual([true, false]);
  tuned.store.dispose();
  model.dispose();
});

// a tied base, so that merging has to untie it
describe.each<[string, Partial<Options>]>([
  ["llama-untied", { modulesToSave: ["lm_head", "model.embed_tokens"] }],
  ["llama-bf16", { modulesToSave: ["lm_head"] }],
  ["qwen2-tied", { modulesToSave: ["lm_head"] }],
  ["qwen2-tied", { modulesToSave: ["embed_tokens"] }],
  ["qwen2-tied", {}], // biases alone
  ["gpt2", { targetModules: ["c_attn"], bias: "all" }],
  ["llama-untied", { trainableTokens: { lm_head: TOKENS } }],
  ["llama-bf16", { trainableTokens: { embed_tokens: TOKENS, lm_head: TOKENS } }],
  ["qwen2-tied", { trainableTokens: TOKENS }],
])("%s with %j", (base, options) => {
  const folder = mkdtempSync(join(tmpdir(), "tunesmith-"));
  const adapterFolder = join(folder, "adapter");
  let model: Model;
  let start: Float32Array;
  let moved: Float32Array;
  beforeAll(async () => {
    model = await loadModel(device, nodeFiles(), goldenPath("models", base));
    const tuned = tuneLora(model, { bias: "lora_only", ...config(options) }, { seed: 1 });
    start = await logitsOf(model, tuned.adapter, IDS);
    for (const [i, name] of tuned.store.names.entries()) {
      const values = await tuned.store.read(name, "values");
      const noise = seededNormals(values.length, i + 1);
      tuned.store.write(
        name,
        "values",
        values.map((value, k) => value + 0.1 * noise[k]!),
      );
    }
    moved = await logitsOf(model, tuned.adapter, IDS);
    await writePeft(nodeFiles(), adapterFolder, tuned.adapter, base);
    tuned.store.dispose();
  });
  afterAll(() => {
    model.dispose();
    rmSync(folder, { recursive: true });
  });

  test("loaded again it computes, scores and generates with its own weights", async () => {
    const adapter = await loadAdapter(model, nodeFiles(), adapterFolder);
    const vocab = model.config.vocabSize;
    const logits = await logitsOf(model, adapter, IDS);
    expect(maxError(logits, moved)).toBe(0);
    const plain = await logitsOf(model, undefined, IDS);
    expect(maxError(start, plain)).toBeLessThan(1e-5);
    expect(maxError(logits, plain)).toBeGreaterThan(0.1);
    const generator = new Generator(model, adapter);
    const [next] = await generator.nextLogits([Int32Array.from(IDS)]);
    expect(maxError(next!, logits.subarray((IDS.length - 1) * vocab))).toBeLessThan(1e-4);
    generator.dispose();
    const programs = new ScorePrograms({ model, adapter });
    const targets = Int32Array.from(IDS, (_, t) => IDS[t + 1] ?? -100);
    const { logProbs } = await programs.score({
      inputIds: Int32Array.from(IDS),
      positionIds: Int32Array.from(IDS, (_, t) => t),
      segmentIds: new Int32Array(IDS.length),
      targets,
    });
    for (let t = 0; t + 1 < IDS.length; t++) {
      const row = Float64Array.from(logits.subarray(t * vocab, (t + 1) * vocab));
      const expected = row[IDS[t + 1]!]! - Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
      expect(Math.abs(logProbs[t]! - expected)).toBeLessThan(1e-4);
    }
    programs.dispose();
    adapter.dispose();
  });

  test("merged, it computes the same without the adapter", async () => {
    const out = join(folder, "merged");
    const words = ["merge", "--model", goldenPath("models", base), "--adapter", adapterFolder, "--out", out];
    const { exitCode, stderr } = await runCli([...words, "--dtype", "f32"]);
    expect(exitCode, stderr).toBe(0);
    const merged = await loadModel(device, nodeFiles(), out);
    expect(merged.config.tiedHead).toBe(model.config.tiedHead && options.modulesToSave === undefined);
    expect(maxError(await logitsOf(merged, undefined, IDS), moved)).toBeLessThan(1e-4);
    merged.dispose();
  });
});
