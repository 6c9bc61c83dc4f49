// `stages`: what each of them takes over, and that a run may stop anywhere. Needs a WebGPU device; software counts.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { nodeFiles } from "@tunesmith/node";
import { openHandOver } from "@tunesmith/sft";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { folderWith } from "../../../../tests/support/cli.ts";
import {
  asOneOrTwo,
  FILES,
  FULL,
  INSTRUCTED,
  json,
  killedIn,
  LORA,
  outcome,
  run,
  sha256,
  staged,
  TRAIN,
  trained,
} from "../../../../tests/support/staged-runs.ts";

describe("what goes on as if it were one run", () => {
  test("an adapter with the moments of the stage before", async () => {
    const { one, kept, fresh } = await asOneOrTwo(
      [LORA, "tune: {method: lora}"],
      ["adapter", "adapter_model.safetensors"],
    );
    expect(kept).toBe(one);
    expect(fresh).not.toBe(one);
  });
});

describe("text, then instructions", () => {
  let whole: string;
  beforeAll(async () => {
    whole = await trained(INSTRUCTED);
  });

  test("is what two runs by hand give", async () => {
    const cwd = await trained(`model: model
output: run
train: ${TRAIN}
data: {shuffle: false, train: [{path: rows.jsonl}], eval_split: 0.4}
eval: {every: 1}
tune: {dropout: 0.2, init_from: ${join(whole, "run", "domain", "adapter")}}
`);
    const adapter = ["adapter", "adapter_model.safetensors"];
    expect(sha256(join(whole, "run", "instruct", ...adapter))).toBe(sha256(join(cwd, "run", ...adapter)));
  });

  test("leaves a folder per stage, and says which is the last", async () => {
    const at = (...parts: string[]): string => join(whole, "run", ...parts);
    expect(readdirSync(at()).toSorted()).toEqual([
      "best.json",
      "config.resolved.yaml",
      "domain",
      "instruct",
      "last.json",
      "stages.json",
    ]);
    expect(json(at("last.json"))).toEqual({ format_version: 1, step: 3, path: "instruct" });
    expect(existsSync(at(...(json(at("best.json"))["path"] as string).split("/"), "adapter"))).toBe(true);
    const names = (json(at("stages.json"))["stages"] as { name: string; steps: number; state: string }[]).map(
      ({ name, steps, state }) => [name, steps, state],
    );
    expect(names).toEqual([
      ["domain", 3, "domain/checkpoints/step-3"],
      ["instruct", 3, "instruct/checkpoints/step-3"],
    ]);
    const handOver = await openHandOver(nodeFiles(), at());
    expect([handOver.folder, handOver.steps]).toEqual([at("instruct"), 3]);
    const scored = (await run(whole, "eval", "run.yaml")).document();
    expect(scored["loss"]).toBeCloseTo(json(at("best.json"))["eval_loss"] as number, 6);
    const base = (await run(whole, "eval", "run.yaml", "--base")).document();
    expect(base["loss"]).toBeGreaterThan(scored["loss"] as number);
  });

  test.each([
    ["instruct", undefined],
    ["instruct", 1],
  ] as const)("stopped in %s after step %s it ends as if it had not", async (stage, step) => {
    const cwd = killedIn(whole, stage, step);
    const { exitCode, stderr } = await run(cwd, "train", "run.yaml", "--resume");
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining("stage 2 of 2: instruct")]);
    if (step !== undefined) expect(stderr).toContain(`resumed after step ${step}`);
    expect(outcome(cwd)).toEqual(outcome(whole));
  });
  test("a stage that is through must stay as it was", async () => {
    const cwd = killedIn(whole, "instruct", 1);
    const changed = await run(cwd, "train", "run.yaml", "--resume", "--set", "stages.0.train={learning_rate: 0.5}");
    expect([changed.exitCode, changed.document().error]).toMatchObject([
      2,
      { code: "CHECKPOINT_CHANGED", message: expect.stringContaining("stage domain is through") },
    ]);
    const over = await run(cwd, "train", "run.yaml");
    expect(over.document().error.code).toBe("OUTPUT_EXISTS");
  });
  test("plan and inspect tell of each stage", async () => {
    const planned = (await run(whole, "plan", "run.yaml")).document() as Record<string, any>;
    expect(planned["stages"].map((stage: Record<string, any>) => [stage["name"], stage["steps"]])).toEqual([
      ["domain", 3],
      ["instruct", 3],
    ]);
    const [domain, instruct] = planned["stages"] as { parameters: object }[];
    expect(instruct!.parameters).toEqual(domain!.parameters); // the adapter that goes on, not one of the default rank
    const written = json(join(whole, "run", "instruct", "plan.json"));
    expect(written["parameters"]).toEqual(instruct!.parameters);
    const inspected = (await run(whole, "inspect", "run.yaml", "--rows", "1")).document() as Record<string, any>;
    expect(inspected["stages"].map((stage: Record<string, any>) => stage["samples"][0].task)).toEqual(["t", "rows"]);
    expect((await run(whole, "check", "run.yaml")).exitCode).toBe(0);
  });
});

describe("hand-over between methods", () => {
  test("an adapter is merged before all weights train; frozen layers are those of the merged base", async () => {
    const cwd = await trained(staged(LORA, "tune: {method: freeze, unfreeze: [lm_head]}, train: {max_steps: 1}"));
    const merged = join(cwd, "run", "instruct-merged");
    const by = ["merge", "--model", "model", "--adapter", "run/domain/adapter", "--out", "by-hand"];
    expect((await run(cwd, ...by)).exitCode).toBe(0);
    expect(sha256(join(merged, "model.safetensors"))).toBe(sha256(join(cwd, "by-hand", "model.safetensors")));
    const own = parse(readFileSync(join(cwd, "run", "instruct", "config.resolved.yaml"), "utf8")) as { model: string };
    expect(own.model).toBe(merged);
  });
});

describe("refused before anything is written", () => {
  const EVAL = "eval: {every: 1}";
  test.each([
    [staged(LORA, LORA).replace("instruct", "domain"), "CONFIG_CONFLICT", "stages[1].name"],
    [staged(`${LORA}, optimizer_state: new`, LORA), "CONFIG_CONFLICT", "stages[0].optimizer_state"],
    [staged(`${LORA}, keep: best`, LORA), "CONFIG_CONFLICT", "stages[0].keep"],
    [staged(LORA, `${FULL}, adapter: continue`), "CONFIG_CONFLICT", "stages[1].adapter"],
    [staged(FULL, `${LORA}, adapter: merge`), "CONFIG_CONFLICT", "stages[1].adapter"],
    [staged(LORA, `tune: {init_from: model}`), "CONFIG_CONFLICT", "stages[1].adapter"],
    [staged(FULL, `${LORA}, optimizer_state: keep`), "CONFIG_CONFLICT", "stages[1].optimizer_state"],
    [staged(LORA, `train: {optimizer: lion}, optimizer_state: keep`), "CONFIG_CONFLICT", "stages[1].optimizer_state"],
    [staged(LORA, `tune: {r: 4}`), "CONFIG_CONFLICT", "stages[1].tune.r"],
    [staged(LORA, `tune: {rank: 4}`), "CONFIG_KEY_UNKNOWN", "stages[1].tune.rank"],
    [staged(LORA, `trian: {epochs: 1}`), "CONFIG_KEY_UNKNOWN", "stages[1].trian"],
    [staged(LORA, LORA).replace("name: domain", "name: a/b"), "CONFIG_VALUE_INVALID", "stages[0].name"],
    [staged(LORA, LORA).replace("rows.jsonl", "none.jsonl"), "FILE_MISSING", "none.jsonl"],
    [staged(LORA, `${EVAL}, train: {epochs: 1, max_steps: 1}`), "CONFIG_CONFLICT", "train.max_steps"],
    [staged(LORA, LORA).replace(/stages:[^]*/, "stages: []\n"), "CONFIG_VALUE_INVALID", "stages"],
  ])("config %#", async (config, code, named) => {
    const cwd = folderWith({ ...FILES, "run.yaml": config });
    const { exitCode, document } = await run(cwd, "train", "run.yaml");
    expect([exitCode, document().error.code]).toEqual([2, code]);
    expect(document().error.message).toContain(named);
    expect(existsSync(join(cwd, "run"))).toBe(false);
  });
});
