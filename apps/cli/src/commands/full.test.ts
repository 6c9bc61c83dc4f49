// `tune.method: full` and `freeze`: whole runs on tiny models. Needs a WebGPU device; software counts.
import { createHash } from "node:crypto";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { goldenPath } from "../../../../tests/support/goldens.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

const ROWS = Array.from({ length: 16 }, (_, i) => JSON.stringify({ prompt: `${i}+1=`, completion: `${i + 1}` }));
const CONFIG = `model: model
output: run
data: {train: [{path: d.jsonl}], eval_split: 0.2, test_split: 0.1}
tune: {method: full}
train: {batch_size: 2, grad_accumulation: 2, max_steps: 6, learning_rate: 1.0e-3, weight_decay: 0.01, warmup_steps: 0}
eval: {every: 3}
checkpoint: {every: 2, keep: 2}
`;
const files: Record<string, string | Uint8Array> = {
  ...modelFolder("model", { weights: true }),
  "d.jsonl": ROWS.join("\n"),
  "run.yaml": CONFIG,
  "lora.yaml": CONFIG.replace("full", "lora"),
};
const json = (path: string): Record<string, any> => JSON.parse(readFileSync(path, "utf8")) as Record<string, any>;
const sha256 = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

/** Header of a safetensors file: dtype and shape by name, and the bytes of each tensor. */
function tensorsOf(path: string): Map<string, { dtype: string; bytes: Buffer }> {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, start).toString()) as Record<string, any>;
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== "__metadata__")
      .map(
        ([
          name,
          {
            dtype,
            data_offsets: [from, to],
          },
        ]) => [
          name,
          { dtype: dtype as string, bytes: file.subarray(start + (from as number), start + (to as number)) },
        ],
      ),
  );
}

describe.each(["full", "freeze"])("%s", (method) => {
  const tune =
    method === "full" ? [] : ["--set", "tune.method=freeze", "--set", 'tune.unfreeze=["model.layers.1", "lm_head"]'];
  let cwd: string;
  let document: Record<string, any>;
  const at = (...parts: string[]): string => join(cwd, "run", ...parts);
  const run = (...argv: string[]): ReturnType<typeof runCli> => runCli([...argv, ...tune, "--json"], { cwd });
  beforeAll(async () => {
    cwd = folderWith(files);
    document = (await run("train", "run.yaml")).document();
  });

  test("learns, and leaves a model folder", () => {
    expect(document["error"]).toBe(undefined);
    expect(document).toMatchObject({ model: at("model"), adapter: null, steps: 6 });
    const evals = readFileSync(at("metrics.jsonl"), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { eval_loss?: number })
      .flatMap(({ eval_loss: loss }) => loss ?? []);
    expect(evals).toHaveLength(3);
    expect(evals[2]).toBeLessThan(evals[0]! - (method === "full" ? 0.3 : 0.02));
    expect(document["test"].loss).toBeGreaterThan(0);
    expect(readdirSync(at("model")).toSorted()).toEqual([
      "chat_template.jinja",
      "config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
    expect(json(at("model", "config.json"))).toEqual(json(join(cwd, "model", "config.json")));
    const config = parse(readFileSync(at("config.resolved.yaml"), "utf8")) as { tune: object };
    expect(Object.keys(config.tune)).toEqual(method === "full" ? ["method"] : ["method", "unfreeze"]);
  });

  test("what was frozen is the base's, byte for byte; all else has moved", () => {
    const before = tensorsOf(join(cwd, "model", "model.safetensors"));
    const after = tensorsOf(at("model", "model.safetensors"));
    expect([...after.keys()].toSorted()).toEqual([...before.keys()].toSorted());
    for (const [name, { bytes }] of after) {
      const trains = method === "full" || /layers\.1\.|lm_head/.test(name);
      expect([name, bytes.equals(before.get(name)!.bytes)]).toEqual([name, !trains]);
    }
  });

  test("best is scored as it was in the run; the model folder generates, and an adapter goes on top", async () => {
    const { exitCode, document: scored } = await run("eval", "run.yaml");
    expect(exitCode).toBe(0);
    const best = json(at("best.json"));
    expect(scored()["loss"]).toBeCloseTo(best["eval_loss"], 6);
    const base = (await run("eval", "run.yaml", "--base")).document();
    expect(base["loss"]).toBeGreaterThan(best["eval_loss"]);
    const written = await runCli(["generate", "--model", at("model"), "--prompt", "1+1=", "--json"], { cwd });
    expect([written.exitCode, typeof written.document()["text"]]).toEqual([0, "string"]);
    const lora = ["train", "lora.yaml", "--set", `model=${at("model")}`, "--set", `output=${method}-lora`, "--json"];
    const { adapter } = (await runCli(lora, { cwd })).document() as unknown as { adapter: string };
    const merge = ["merge", "--model", at("model"), "--adapter", adapter, "--out", `merged-${method}`, "--json"];
    expect((await runCli(merge, { cwd })).exitCode).toBe(0);
  });

  test("the plan is what it takes: four copies of what trains, and no more", async () => {
    const planned = (await run("plan", "run.yaml")).document() as Record<string, any>;
    const { categories, parameters, time } = planned;
    const written = json(at("plan.json"));
    expect({ ...written, memory_budget: 0, reason: "" }).toEqual({
      ...planned,
      time: undefined,
      memory_budget: 0,
      reason: "",
    });
    expect(time.seconds).toBeGreaterThan(0);
    const total = 2 * 300 * 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 112 + 2 * 64) + 64;
    expect(parameters.total).toBe(total);
    if (method === "full") expect(parameters.trainable).toBe(total);
    else expect(parameters.trainable).toBeLessThan(total / 2);
    expect(categories.adapter).toBe(0);
    expect(categories.gradients).toBeGreaterThanOrEqual(4 * parameters.trainable);
    expect(categories.gradients).toBeLessThan(4.1 * parameters.trainable + 4096);
    expect(categories.optimizer).toBe(2 * categories.gradients + 16); // and the halt flag
  });

  test("resumes to the bit", async () => {
    const names = ["model/model.safetensors", "checkpoints/step-4/optimizer.safetensors", "best.json"];
    const expected = names.map((name) => sha256(at(...name.split("/"))));
    const lines = (): object[] =>
      readFileSync(at("metrics.jsonl"), "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => ({ ...(JSON.parse(line) as object), timing: undefined }));
    const metrics = lines();
    cpSync(at(), `${at()}-whole`, { recursive: true });
    for (const name of ["model", "sft.json", "last.json"]) rmSync(at(name), { recursive: true });
    for (const name of readdirSync(at("checkpoints")))
      if (Number(name.slice(5)) > 4) rmSync(at("checkpoints", name), { recursive: true });
    const resumed = await run("train", "run.yaml", "--resume");
    expect([resumed.exitCode, resumed.stderr]).toEqual([0, expect.stringContaining("resumed after step 4")]);
    expect(names.map((name) => sha256(at(...name.split("/"))))).toEqual(expected);
    expect(lines()).toEqual(metrics);
    const other = await run("train", "run.yaml", "--resume", "--set", "train.weight_decay=0");
    expect(other.document().error).toMatchObject({ code: "CHECKPOINT_CHANGED" });
  });
});

describe("16-bit bases", () => {
  const golden = (name: string, file: string): Buffer => readFileSync(goldenPath("models", name, file));
  test.each([
    ["llama-bf16", "BF16", "bfloat16"],
    ["qwen2-fp16", "F16", "float16"],
  ])("%s: the result has its dtype, checkpoints have the exact weights", async (name, dtype, torch) => {
    const cwd = folderWith({
      ...files,
      "model/config.json": golden(name, "config.json"),
      "model/model.safetensors": golden(name, "model.safetensors"),
    });
    const { exitCode, document } = await runCli(
      ["train", "run.yaml", "--set", "train.max_steps=2", "--set", "checkpoint.every=1", "--json"],
      { cwd },
    );
    expect([exitCode, document().error]).toEqual([0, undefined]);
    const at = (...parts: string[]): string => join(cwd, "run", ...parts);
    const dtypes = (folder: string): string[] => [
      ...new Set([...tensorsOf(join(folder, "model.safetensors")).values()].map((tensor) => tensor.dtype)),
    ];
    expect(dtypes(at("model"))).toEqual([dtype]);
    expect(dtypes(at("checkpoints", "step-1", "model"))).toEqual(["F32"]);
    const named = (folder: string): unknown => {
      const config = json(join(folder, "config.json"));
      return config["dtype"] ?? config["torch_dtype"];
    };
    expect([named(at("model")), named(at("checkpoints", "step-1", "model"))]).toEqual([torch, "float32"]);
    // a tied head stays tied: there is no second copy
    const tied = json(at("model", "config.json"))["tie_word_embeddings"] === true;
    expect(tensorsOf(at("model", "model.safetensors")).has("lm_head.weight")).toBe(!tied);
  });
});

describe("what cannot train is refused before anything is written", () => {
  const cwd = folderWith({
    ...files,
    ...Object.fromEntries(
      ["config.json", "model.safetensors"].map((name) => [
        `four/${name}`,
        readFileSync(goldenPath("models", "llama-nf4-bnb", name)),
      ]),
    ),
    "four/tokenizer.json": files["model/tokenizer.json"]!,
    "four/tokenizer_config.json": files["model/tokenizer_config.json"]!,
  });
  test.each([
    [["model=four"], "CONFIG_CONFLICT", "quantized"],
    [["tune.r=8"], "CONFIG_CONFLICT", "tune.r"],
    [["tune.init_from=x"], "CONFIG_CONFLICT", "tune.init_from"],
    [["tune.unfreeze=[lm_head]"], "CONFIG_CONFLICT", "tune.unfreeze"],
    [["tune.method=freeze"], "CONFIG_CONFLICT", "tune.unfreeze"],
    [["tune.method=freeze", "tune.unfreeze=[model.layers.2]"], "UNFREEZE_UNMATCHED", "model.layers.2"],
    [["tune.method=freeze", "tune.unfreeze=[lm_head]", "tune.modules_to_save=[lm_head]"], "CONFIG_CONFLICT", "save"],
  ])("%j: %s", async (sets, code, named) => {
    const argv = ["train", "run.yaml", "--set", "output=no", ...sets.flatMap((set) => ["--set", set]), "--json"];
    const { exitCode, document } = await runCli(argv, { cwd });
    expect([exitCode, document().error.code]).toEqual([2, code]);
    expect(document().error.message).toContain(named);
    expect(existsSync(join(cwd, "no"))).toBe(false);
  });
});
