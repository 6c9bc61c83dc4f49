// What settings keep beside the adapter's parameters comes back with --resume: the run ends with the same bytes.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

const ROWS = Array.from({ length: 10 }, (_, i) =>
  JSON.stringify({ prompt: `Q${i}:`, completion: "ok".repeat(1 + (i % 3)), task: i % 2 ? "odd" : "even" }),
);
const CONFIG = `model: model
output: run
data: {train: [{path: d.jsonl}]}
tune: {r: 128, target_modules: [q_proj]}
train: {batch_size: 2, grad_accumulation: 2, max_steps: 6, learning_rate: 0.01}
checkpoint: {every: 2, keep: 3}
`;

/** By name: settings, and names of what a checkpoint must hold. */
const SETTINGS: Record<string, { sets: string[]; states: RegExp[] }> = {
  "eight-bit moments": { sets: ["train.optimizer=adamw8bit"], states: [/^scales\..*lora_A/, /^m\./, /^v\./] },
  "replayed rows": {
    sets: [
      "regularize.kl_to_base=0.5",
      "regularize.replay=[{path: d.jsonl, max_rows: 7}]",
      "regularize.replay_batch_size=3",
    ],
    states: [/^m\./],
  },
  "distance from the start": { sets: ["regularize.l2_to_start=0.1"], states: [/^m\./] },
  "factored moments": { sets: ["train.optimizer=adafactor"], states: [/^rows\..*lora_A/, /^columns\..*lora_B/] },
  "embedding noise and dropout": { sets: ["train.neftune=5", "tune.dropout=0.1"], states: [/^m\./] },
  "label smoothing and z-loss": { sets: ["train.label_smoothing=0.1", "train.z_loss=0.001"], states: [/^m\./] },
};

function outcome(cwd: string): Record<string, unknown> {
  const bytes = (...path: string[]): string =>
    createHash("sha256")
      .update(readFileSync(join(cwd, "run", ...path)))
      .digest("hex");
  const lines = readFileSync(join(cwd, "run", "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n");
  return {
    adapter: bytes("adapter", "adapter_model.safetensors"),
    optimizer: bytes("checkpoints", "step-4", "optimizer.safetensors"),
    metrics: lines.map((line) => ({ ...(JSON.parse(line) as object), timing: undefined })),
  };
}

describe("--resume", () => {
  test.each(Object.entries(SETTINGS))("%s", async (_, { sets, states }) => {
    const cwd = folderWith({
      ...modelFolder("model", { weights: true }),
      "run.yaml": CONFIG,
      "d.jsonl": ROWS.join("\n"),
    });
    const flags = ["--json", ...sets.flatMap((set) => ["--set", set])];
    const first = await runCli(["train", "run.yaml", ...flags], { cwd });
    expect([first.exitCode, first.stderr]).toEqual([0, expect.any(String)]);
    const whole = outcome(cwd);
    const header = readFileSync(join(cwd, "run", "checkpoints", "step-2", "optimizer.safetensors"));
    const names = Object.keys(
      JSON.parse(header.subarray(8, 8 + Number(header.readBigUInt64LE())).toString()) as Record<string, unknown>,
    );
    for (const state of states) expect(names).toContainEqual(expect.stringMatching(state));

    const root = join(cwd, "run", "checkpoints");
    for (const name of readdirSync(root)) if (name !== "step-2") rmSync(join(root, name), { recursive: true });
    const resumed = await runCli(["train", "run.yaml", "--resume", ...flags], { cwd });
    expect([resumed.exitCode, resumed.stderr]).toEqual([0, expect.stringContaining("resumed after step 2")]);
    expect(outcome(cwd)).toEqual(whole);
  });
});
