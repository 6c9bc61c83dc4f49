// `plan` on a tiny model. Needs a WebGPU device; software counts.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";
import { safetensorsBytes } from "../../../../tests/support/safetensors-bytes.ts";

const CONFIG = `model: model
output: run
data:
  train: [{path: sums.jsonl}]
  eval_split: 0.25
tune: {r: 4, alpha: 8}
train: {max_steps: 3, batch_size: 8, learning_rate: 1.0e-2, schedule: constant, warmup_steps: 0}
eval: {every: 3}
`;
const rows = Array.from({ length: 24 }, (_, i) => ({ prompt: `${i}+${"1+".repeat(i % 9)}1=`, completion: `${i + 1}` }));
/** A file of zeros. */
function zeros(shapes: Readonly<Record<string, readonly number[]>>): Uint8Array {
  let end = 0;
  const header = Object.entries(shapes).map(([name, shape]) => {
    const start = end;
    end += 4 * shape.reduce((size, dim) => size * dim);
    return [name, { dtype: "F32", shape, data_offsets: [start, end] }];
  });
  return safetensorsBytes(Object.fromEntries(header), end);
}
/** Those of four layers of the model, and of an adapter of rank 4 on their q_proj. */
function ofLayers(shapes: Readonly<Record<string, readonly number[]>>): Record<string, readonly number[]> {
  return Object.fromEntries(
    [0, 1, 2, 3].flatMap((i) => Object.entries(shapes).map(([name, shape]) => [name.replace("#", String(i)), shape])),
  );
}
const deep = zeros({
  "model.embed_tokens.weight": [300, 64],
  "lm_head.weight": [300, 64],
  "model.norm.weight": [64],
  ...ofLayers({
    "model.layers.#.input_layernorm.weight": [64],
    "model.layers.#.post_attention_layernorm.weight": [64],
    "model.layers.#.self_attn.q_proj.weight": [64, 64],
    "model.layers.#.self_attn.k_proj.weight": [32, 64],
    "model.layers.#.self_attn.v_proj.weight": [32, 64],
    "model.layers.#.self_attn.o_proj.weight": [64, 64],
    "model.layers.#.mlp.gate_proj.weight": [112, 64],
    "model.layers.#.mlp.up_proj.weight": [112, 64],
    "model.layers.#.mlp.down_proj.weight": [64, 112],
  }),
});
const adapter = zeros(
  ofLayers({
    "base_model.model.model.layers.#.self_attn.q_proj.lora_A.weight": [4, 64],
    "base_model.model.model.layers.#.self_attn.q_proj.lora_B.weight": [64, 4],
  }),
);
const cwd = folderWith({
  ...modelFolder("model", { weights: true }),
  ...modelFolder("deep", { config: { num_hidden_layers: 4 } }),
  "adapter/adapter_config.json": JSON.stringify({ peft_type: "LORA", r: 4, lora_alpha: 8, target_modules: ["q_proj"] }),
  "adapter/adapter_model.safetensors": adapter,
  "deep/model.safetensors": deep,
  "sums.jsonl": rows.map((row) => `${JSON.stringify(row)}\n`).join(""),
  "run.yaml": CONFIG,
});

interface Plan {
  peak_bytes: number;
  categories: Record<string, number>;
  reason: string;
  time: { seconds_per_step: number; seconds: number; measured: { layers: number[] } };
}
const plan = async (...flags: string[]): Promise<Plan> => {
  const { exitCode, document } = await runCli(["plan", "run.yaml", "--json", ...flags], { cwd });
  expect(exitCode).toBe(0);
  return document() as unknown as Plan;
};

describe("plan", () => {
  test("says what train then writes, and what it will take", async () => {
    const { time, ...planned } = await plan();
    const { peak_bytes: peak, categories } = planned;
    expect(Object.values(categories).reduce((a, b) => a + b, 0)).toBe(peak);
    // 300 × 64 embedding and head, two layers of 46,208 and a norm of 64 elements: f32; two tables of positions
    expect(categories["weights"]).toBeGreaterThan(4 * (2 * 300 * 64 + 2 * 33_000));
    const trainable = 2 * 4 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 112));
    expect(planned).toMatchObject({
      parameters: { trainable, total: expect.any(Number) },
      steps: 3,
      micro_batch_size: 8,
      recompute: "none",
      peak: { program: expect.stringMatching(/^micro-batch of \d+ tokens$/) },
    });
    expect(categories["gradients"]).toBe(categories["adapter"]);
    expect(time).toMatchObject({ measured: { layers: [2] } });
    expect(time.seconds).toBeCloseTo(3 * time.seconds_per_step, 3);

    expect((await runCli(["train", "run.yaml"], { cwd })).exitCode).toBe(0);
    const written = JSON.parse(readFileSync(join(cwd, "run", "plan.json"), "utf8")) as object;
    // a software device's default budget is what is free at the moment
    expect({ ...written, memory_budget: 0, reason: "" }).toEqual({ ...planned, memory_budget: 0, reason: "" });
  });

  test("a budget is met, the way is said, and the losses stay", async () => {
    const free = await plan();
    const budget = Math.floor(free.peak_bytes * 0.6);
    const tight = await plan("--memory-budget", String(budget));
    expect(tight.peak_bytes).toBeLessThanOrEqual(budget);
    expect(tight).toMatchObject({ memory_budget: budget });
    expect(tight.reason).toContain("the fastest way that fits");

    const trained = await runCli(
      ["train", "run.yaml", "--memory-budget", String(budget), "--set", "output=tight", "--json"],
      { cwd },
    );
    expect(trained.exitCode).toBe(0);
    expect(trained.stderr).toContain(tight.reason);
    const losses = (folder: string): number[] =>
      readFileSync(join(cwd, folder, "metrics.jsonl"), "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as Record<string, number>)
        .map((line) => line["loss"] ?? line["eval_loss"]!);
    if (!losses("run").length) throw new Error("the run before left no losses");
    for (const [i, loss] of losses("tight").entries()) expect(loss).toBeCloseTo(losses("run")[i]!, 4);
    const { train } = parse(readFileSync(join(cwd, "tight", "config.resolved.yaml"), "utf8")) as {
      train: Record<string, unknown>;
    };
    const { micro_batch_size, recompute, cross_entropy_rows } = tight as unknown as Record<string, unknown>;
    expect(train).toMatchObject({ micro_batch_size, recompute, cross_entropy_rows });
  });

  test.each([
    ["alike", "r=8", [1, 2]],
    ["with another rank", "rank_pattern={layers.2.self_attn.q_proj: 2}", [4]],
    ["of which one trains", "layers_to_transform=[2]", [4]],
    ["of an adapter to continue", "init_from=adapter", [1, 2]],
  ])("time of layers %s", async (_, tune, layers) => {
    const from = tune.startsWith("init_from") ? ["--set", "tune={}"] : [];
    const { time } = await plan("--set", "model=deep", ...from, "--set", `tune.${tune}`);
    expect(time.measured.layers).toEqual(layers);
  });

  test("a run that is larger than memory is planned, not measured; training it is refused", async () => {
    vi.spyOn(process, "availableMemory").mockReturnValue(2 ** 18);
    try {
      const large = await plan();
      expect(large).toMatchObject({ fits: false, time: null, micro_batch_size: 1, recompute: "layer" });
      expect(large.peak_bytes).toBeGreaterThan(2 ** 18);
      expect(large.reason).toMatch(/^more than is free here/);
      const { exitCode, document } = await runCli(["train", "run.yaml", "--set", "output=large", "--json"], { cwd });
      expect([exitCode, document().error.code]).toEqual([4, "MEMORY_BUDGET"]);
    } finally {
      vi.restoreAllMocks();
    }
  });

  test("what is written is obeyed; text for a person", async () => {
    const { exitCode, stdout } = await runCli(
      ["plan", "run.yaml", "--set", "train.recompute=layer", "--set", "train.micro_batch_size=3"],
      { cwd },
    );
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/memory at its peak: [\d.]+ [kMG]B \(\d+ bytes\)/);
    expect(stdout).toContain("micro-batches of 3, recompute layer");
    expect(stdout).toMatch(/time: [\d.e-]+ s per step/);
  });

  test.each([
    ["train.micro_batch_size=9", "CONFIG_CONFLICT"],
    ["train.memory_budget=8 gigabytes", "CONFIG_VALUE_INVALID"],
    ["train.cross_entropy_rows=100", "CONFIG_VALUE_INVALID"],
  ])("%s is refused: %s", async (set, code) => {
    const { exitCode, document } = await runCli(["plan", "run.yaml", "--json", "--set", set], { cwd });
    expect([exitCode, document().error.code]).toEqual([2, code]);
  });
});
