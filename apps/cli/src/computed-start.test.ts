// Starts that are computed from the base's weights. Needs a WebGPU device; software counts.
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../tests/support/cli.ts";
import { modelFolder } from "../../../tests/support/model-folder.ts";

const ROWS = Array.from({ length: 8 }, (_, i) => JSON.stringify({ prompt: `${i}+1=`, completion: `${i + 1}` }));
const config = (tune: string): string => `model: model
output: run
data: {train: [{path: d.jsonl}], eval: [{path: d.jsonl}]}
tune: {r: 4, alpha: 6, ${tune}}
train: {max_steps: 4, batch_size: 2, learning_rate: 1.0e-2, warmup_steps: 0}
checkpoint: {every: 2}
eval: {every: 4}
`;
const place = (tune: string): string =>
  folderWith({ ...modelFolder("model", { weights: true }), "d.jsonl": ROWS.join("\n"), "run.yaml": config(tune) });
const json = (...names: string[]): Record<string, unknown> =>
  JSON.parse(readFileSync(join(...names), "utf8")) as Record<string, unknown>;

/** max |Δlogit| between an adapter on a model and another on another, by way of merged folders. */
async function apart(
  cwd: string,
  one: [model: string, adapter: string],
  other: [model: string, adapter?: string],
): Promise<number> {
  let merged = other[0];
  if (other[1] !== undefined) {
    merged = `merged-${Math.random().toString(36).slice(2)}`;
    await runCli(["merge", "--model", other[0], "--adapter", other[1], "--out", merged], { cwd });
  }
  const verify = ["verify", "--model", one[0], "--adapter", one[1], "--merged", merged, "--json"];
  return (await runCli(verify, { cwd })).document()["max_logit_difference"] as number;
}

describe.each(["pissa", "olora"])("%s", (kind) => {
  test("begins as the base, trains, and comes back to the base as a plain LoRA of twice the rank", async () => {
    const cwd = place(`init_lora_weights: ${kind}, use_rslora: true, rank_pattern: {q_proj: 3}`);
    const trained = await runCli(["train", "run.yaml", "--json"], { cwd });
    expect(trained.exitCode, trained.stderr).toBe(0);
    expect(await apart(cwd, ["run-start/model", "run-start/adapter"], ["model"])).toBeLessThan(1e-3);
    expect(await apart(cwd, ["model", "run-start/adapter"], ["model"])).toBeGreaterThan(0.1);
    expect(await apart(cwd, ["run-start/model", "run/adapter"], ["model"])).toBeGreaterThan(1e-2);
    expect(await apart(cwd, ["run-start/model", "run/adapter"], ["model", "run/adapter-plain"])).toBeLessThan(1e-3);
    expect(json(cwd, "run/adapter-plain/adapter_config.json")).toMatchObject({
      r: 8,
      base_model_name_or_path: join(cwd, "model"),
    });
    expect(existsSync(join(cwd, "run/adapter-plain/tokenizer.json"))).toBe(true);

    // the start is computed once; eval and the resolved config find it
    const { mtimeMs } = statSync(join(cwd, "run-start/start.json"));
    const loss = (trained.document()["eval"] as { loss: number }).loss;
    const scored = await runCli(["eval", "run.yaml", "--json"], { cwd });
    expect(scored.document()["loss"]).toBeCloseTo(loss, 5);
    if (kind !== "pissa") return;
    const again = await runCli(["train", "run/config.resolved.yaml", "--set", "output=../again", "--json"], { cwd });
    expect(again.exitCode, again.stderr).toBe(0);
    const tensors = (run: string): Buffer => readFileSync(join(cwd, run, "adapter/adapter_model.safetensors"));
    expect(tensors("again")).toEqual(tensors("run"));
    expect([statSync(join(cwd, "run-start/start.json")).mtimeMs, existsSync(join(cwd, "again-start"))]).toEqual([
      mtimeMs,
      false,
    ]);
    const other = await runCli(
      ["train", "run/config.resolved.yaml", "--set", "output=../other", "--set", "tune.r=2", "--json"],
      { cwd },
    );
    expect(other.document().error).toMatchObject({ code: "CONFIG_CONFLICT", fix: expect.stringContaining("model") });
  });
});

test("loftq: nearer to the base than quantizing leaves it, on the base's own weights in four bits", async () => {
  const cwd = place("method: qlora, init_lora_weights: loftq, quant: {skip_modules: [o_proj]}");
  const trained = await runCli(["train", "run.yaml", "--json", "--set", "train.max_steps=1", "--set", "tune.r=32"], {
    cwd,
  });
  expect(trained.exitCode, trained.stderr).toBe(0);
  await runCli(["quantize", "--model", "model", "--out", "four", "--double-quant"], { cwd });
  const start = json(cwd, "run-start/adapter/adapter_config.json");
  expect(start["base_model_name_or_path"]).toBe(join(cwd, "model"));
  expect(start["target_modules"]).not.toContainEqual(expect.stringContaining("o_proj"));
  expect(existsSync(join(cwd, "run-start/model"))).toBe(false);
  expect(existsSync(join(cwd, "run/adapter-plain"))).toBe(false);
  const with_ = await apart(cwd, ["four", "run-start/adapter"], ["model"]);
  await runCli(["adapter", "merge", "run-start/adapter", "--weights", "0", "--out", "nothing"], { cwd });
  const without = await apart(cwd, ["four", "nothing"], ["model"]);
  expect(with_).toBeLessThan(0.8 * without);
});

test.each([
  ["init_lora_weights: pissa, use_dora: true", /use_dora/],
  ["init_lora_weights: olora, modules_to_save: [lm_head]", /modules_to_save/],
  ["init_lora_weights: loftq", /qlora/],
  ["init_lora_weights: pissa_niter_4", /pissa_niter_4/],
  ["init_lora_weights: pissa}\nstages: [{name: a}, {name: b}]\ngates: {max_lost: 0.05", /stages do not have/],
])("%s is refused", async (tune, message) => {
  const { document } = await runCli(["train", "run.yaml", "--json"], { cwd: place(tune) });
  expect(JSON.stringify(document().error)).toMatch(message);
});

test("a folder in the way that was not made here stays as it is", async () => {
  const cwd = folderWith({
    ...modelFolder("model", { weights: true }),
    "d.jsonl": ROWS.join("\n"),
    "run.yaml": config("init_lora_weights: pissa"),
    "run-start/thesis.txt": "years of work",
  });
  const { document } = await runCli(["train", "run.yaml", "--json"], { cwd });
  expect(document().error).toMatchObject({ code: "OUTPUT_NOT_A_RUN" });
  expect(existsSync(join(cwd, "run-start/thesis.txt"))).toBe(true);
});
