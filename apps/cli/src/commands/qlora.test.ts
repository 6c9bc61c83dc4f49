// A run on a four-bit base: quantized while it loads, or stored so by `quantize`.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

const ROWS = Array.from({ length: 12 }, (_, i) => `{"prompt": "${i}+1=", "completion": "${i + 1}"}\n`).join("");
const config = (model: string, tune: string): string => `model: ${model}
output: run-${model}
data: {train: [{path: sums.jsonl}], eval_split: 0.25}
tune: {r: 4, alpha: 8, ${tune}}
train: {max_steps: 3, batch_size: 3, learning_rate: 1.0e-2, schedule: constant, warmup_steps: 0}
eval: {every: 3}
`;

/** Every loss a run wrote, in order. */
function losses(cwd: string, run: string): number[] {
  const lines = readFileSync(join(cwd, run, "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n");
  return lines.map((line) => {
    const { loss, eval_loss: evalLoss } = JSON.parse(line) as { loss?: number; eval_loss?: number };
    return loss ?? evalLoss!;
  });
}

describe("qlora", () => {
  const cwd = folderWith({
    ...modelFolder("model", { weights: true }),
    "sums.jsonl": ROWS,
    "qlora.yaml": config(
      "model",
      "method: qlora, quant: {type: nf4, double_quant: true, skip_modules: [layers.1.mlp.up_proj]}",
    ),
    "same.yaml": config("model", "method: qlora, quant: {double_quant: false}"),
    "lora.yaml": config("four", "method: lora"),
    "again.yaml": config("four", "method: qlora, quant: {type: fp4}"),
  });

  test("trains, evaluates on the same base, and equals lora on the folder that quantize wrote", async () => {
    const quantized = await runCli(["quantize", "--model", "model", "--out", "four"], { cwd });
    expect(quantized.exitCode, quantized.stderr).toBe(0);
    const qlora = await runCli(["train", "same.yaml", "--json"], { cwd });
    expect(qlora.exitCode, qlora.stderr).toBe(0);
    const lora = await runCli(["train", "lora.yaml", "--json"], { cwd });
    expect(lora.exitCode, lora.stderr).toBe(0);
    expect(losses(cwd, "run-model")).toHaveLength(5);
    expect(losses(cwd, "run-model")).toEqual(losses(cwd, "run-four")); // bit for bit
    const { best } = qlora.document() as unknown as { best: { eval_loss: number } };
    const scored = await runCli(["eval", "same.yaml", "--json"], { cwd });
    expect(scored.document()["loss"]).toBeCloseTo(best.eval_loss, 6);
  });

  test("skips what is named, and nothing that is not there", async () => {
    const skipped = await runCli(["train", "qlora.yaml", "--set", "output=skip", "--json"], { cwd });
    expect(skipped.exitCode, skipped.stderr).toBe(0);
    expect(losses(cwd, "skip")).not.toEqual(losses(cwd, "run-model"));
    const wrong = await runCli(
      ["train", "qlora.yaml", "--set", "tune.quant.skip_modules=[q_prj]", "--overwrite", "--json"],
      {
        cwd,
      },
    );
    expect(wrong.document().error).toMatchObject({ code: "TARGET_UNMATCHED", fix: "did you mean q_proj?" });
    expect(wrong.document().error.message).toContain("tune.quant.skip_modules");
  });

  test("a quantized folder is not quantized otherwise", async () => {
    const again = await runCli(["train", "again.yaml", "--overwrite", "--json"], { cwd });
    expect(again.document().error).toMatchObject({ code: "CONFIG_CONFLICT", line: 4 });
  });
});
