// `keep: best`: the state of the lowest eval loss is handed over, tested and told of.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

// every row has the same prompt and answer, but for what is held back: each update makes the eval loss worse in the end
const row = (completion: string): string => JSON.stringify({ prompt: "Say: ", completion });
const CONFIG = `model: model
output: run
data: {train: [{path: a.jsonl}], eval: [{path: b.jsonl}], test: [{path: b.jsonl}], contamination: none}
train: {max_steps: 8, batch_size: 4, learning_rate: 3.0e-2, schedule: constant, warmup_steps: 0}
eval: {every: 2}
`;
function workplace(): string {
  return folderWith({
    ...modelFolder("model", { weights: true }),
    "a.jsonl": [row("yes"), row("yes"), row("yes"), row("yes")].join("\n"),
    "b.jsonl": [row("you"), row("yam")].join("\n"),
    "run.yaml": CONFIG,
  });
}
interface Document {
  kept_step: number;
  steps: number;
  best: { step: number; eval_loss: number };
  test: { loss: number };
}

describe.each([
  ["{method: lora, r: 4, target_modules: [q_proj, down_proj]}", "adapter/adapter_model.safetensors"],
  ["{method: full}", "model/model.safetensors"],
])("keep: best with %s", (tune, file) => {
  let cwd: string;
  let kept: Document;
  const bytes = (...path: string[]): Buffer => readFileSync(join(cwd, "run", ...path));
  const json = (name: string): Record<string, unknown> => JSON.parse(bytes(name).toString()) as Record<string, unknown>;
  beforeAll(async () => {
    cwd = workplace();
    const sets = ["--set", "keep=best", "--set", `tune=${tune}`];
    const { document } = await runCli(["train", "run.yaml", "--json", ...sets], { cwd });
    kept = document() as unknown as Document;
  });

  test("hands over what best.json names, and tests that", () => {
    expect(kept.best.step).toBeGreaterThan(0);
    expect(kept.best.step).toBeLessThan(8);
    expect(kept).toMatchObject({ steps: 8, kept_step: kept.best.step });
    expect(kept.test.loss).toBeCloseTo(kept.best.eval_loss, 5); // the same rows
    const best = json("best.json")["path"] as string;
    expect(bytes(file).equals(bytes(best, file))).toBe(true);
    expect(json("sft.json")).toMatchObject({ kept_step: kept.best.step, eval: { loss: kept.best.eval_loss } });
  });
  test("the last state lies where last.json points, and is what keep: last hands over", async () => {
    const { step, path } = json("last.json") as { step: number; path: string };
    expect([step, path]).toEqual([8, "checkpoints/step-8"]);
    const other = ["--set", "output=plain", "--set", `tune=${tune}`];
    const plain = (await runCli(["train", "run.yaml", "--json", ...other], { cwd })).document();
    expect(plain).toMatchObject({ kept_step: 8, best: kept.best });
    expect(readFileSync(join(cwd, "plain", file)).equals(bytes(path, file))).toBe(true);
    expect((plain["test"] as Document["test"]).loss).toBeGreaterThan(kept.test.loss);
  });
});

test("without eval rows nothing is best", async () => {
  const sets = ["--set", "keep=best", "--set", "data={train: [{path: a.jsonl}]}"];
  const { exitCode, document } = await runCli(["train", "run.yaml", "--json", ...sets], { cwd: workplace() });
  expect([exitCode, document().error]).toMatchObject([
    2,
    { code: "CONFIG_CONFLICT", fix: expect.stringContaining("keep") },
  ]);
});
