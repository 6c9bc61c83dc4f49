// The cases of stages.test.ts that take minutes.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
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
  trained,
} from "../../../../tests/support/staged-runs.ts";

const FREEZE = "tune: {method: freeze, unfreeze: [model.layers.1, lm_head]}";
describe("what goes on as if it were one run", () => {
  test.each([
    ["freeze", FREEZE],
    ["full", FULL],
  ])("%s with the moments of the stage before", async (_, tune) => {
    const { one, kept, fresh } = await asOneOrTwo([tune, tune], ["model", "model.safetensors"]);
    expect(kept).toBe(one);
    expect(fresh).not.toBe(one);
  });
});

describe("text, then instructions", () => {
  let whole: string;
  beforeAll(async () => {
    whole = await trained(INSTRUCTED);
  });
  test.each([
    ["domain", undefined],
    ["domain", 1],
    ["domain", 3],
    ["instruct", 3],
  ] as const)("stopped in %s after step %s it ends as if it had not", async (stage, step) => {
    const cwd = killedIn(whole, stage, step);
    const { exitCode, stderr } = await run(cwd, "train", "run.yaml", "--resume");
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining("stage 2 of 2: instruct")]);
    if (step !== undefined) expect(stderr).toContain(`resumed after step ${step}`);
    expect(outcome(cwd)).toEqual(outcome(whole));
  });
  test("a run that is through takes up its last step; its resolved config is that of the run", async () => {
    const before = outcome(whole);
    writeFileSync(join(whole, "again.yaml"), readFileSync(join(whole, "run", "config.resolved.yaml")));
    const { exitCode, stderr } = await run(whole, "train", "again.yaml", "--resume");
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining("resumed after step 3")]);
    expect(outcome(whole)).toEqual(before);
  });
  test("a signal ends the stage that it finds, and what comes after waits", async () => {
    const cwd = folderWith({ ...FILES, "run.yaml": INSTRUCTED });
    const controller = new AbortController();
    const first = join(cwd, "run", "domain", "metrics.jsonl");
    const watch = setInterval(() => {
      if (existsSync(first) && readFileSync(first, "utf8").includes('"step":1')) controller.abort();
    }, 1);
    await runCli(["train", "run.yaml"], { cwd, signal: controller.signal });
    clearInterval(watch);
    expect(existsSync(join(cwd, "run", "instruct"))).toBe(false);
    await run(cwd, "train", "run.yaml", "--resume");
    expect(outcome(cwd)).toEqual(outcome(whole));
  });
});

describe("hand-over between methods", () => {
  test("a model's best state is the base of an adapter", async () => {
    const cwd = await trained(
      staged(`${FULL}, eval: {every: 1}, keep: best`, LORA).replace(
        "text.jsonl, name: t}]",
        "text.jsonl}], eval_split: 0.4",
      ),
    );
    const at = (...parts: string[]): string => join(cwd, "run", ...parts);
    const best = json(at("domain", "best.json"))["path"] as string;
    const own = parse(readFileSync(at("instruct", "config.resolved.yaml"), "utf8")) as { model: string };
    expect(own.model).toBe(at("domain", "model"));
    const weights = ["model", "model.safetensors"];
    expect(sha256(at("domain", ...weights))).toBe(sha256(join(at("domain"), ...best.split("/"), ...weights)));
    expect(json(at("instruct", "adapter", "adapter_config.json"))["base_model_name_or_path"]).toBe(own.model);
  });
});
