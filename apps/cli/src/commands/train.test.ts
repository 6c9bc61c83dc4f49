// Whole runs on a tiny model. Needs a WebGPU device; software counts.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { CHAT_TEMPLATE, EOS, idsOf, modelFolder } from "../../../../tests/support/model-folder.ts";

const ROWS = Array.from({ length: 12 }, (_, i) => ({ prompt: `${i}+1=`, completion: `${i + 1}` }));
const CONFIG = `model: model
output: run
data:
  train: [{path: sums.jsonl}]
  eval_split: 0.25
tune: {r: 4, alpha: 8}
train: {max_steps: 6, batch_size: 3, learning_rate: 1.0e-2, schedule: constant, warmup_steps: 0}
eval: {every: 3}
`;

function workplace(files: Record<string, string> = {}): string {
  const jsonl = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  return folderWith({
    ...modelFolder("model", { weights: true }),
    "sums.jsonl": jsonl(ROWS),
    "run.yaml": CONFIG,
    ...files,
  });
}

function readLines(path: string): Record<string, unknown>[] {
  return readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

function readJson(path: string): Record<string, unknown> {
  return JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
}

describe("a run", () => {
  const cwd = workplace();
  const at = (...names: string[]): string => join(cwd, "run", ...names);
  const trained = runCli(["train", "run.yaml", "--json"], { cwd });

  test("learns, and says so in one document", async () => {
    const { exitCode, document, stderr } = await trained;
    expect(stderr).toContain("3 rows for evaluation");
    expect(exitCode).toBe(0);
    expect(document()).toMatchObject({
      output: at(),
      adapter: at("adapter"),
      steps: 6,
      total_steps: 6,
      best: { step: expect.any(Number) },
    });
    const [first, last] = readLines(at("metrics.jsonl"))
      .filter((line) => "eval_loss" in line)
      .map((line) => line["eval_loss"] as number)
      .toSpliced(1, 1);
    expect(last).toBeLessThan(first! - 0.5);
  });

  test("logs a line per step and per evaluation, in order", async () => {
    await trained;
    const lines = readLines(at("metrics.jsonl"));
    expect(lines.map((line) => `${line["step"]}${"eval_loss" in line ? "e" : ""}`)).toEqual([
      "0e",
      "1",
      "2",
      "3",
      "3e",
      "4",
      "5",
      "6",
      "6e",
    ]);
    expect(Object.keys(lines[1]!).toSorted()).toEqual([
      "format_version",
      "grad_norm",
      "loss",
      "lr",
      "padded_tokens",
      "step",
      "target_tokens",
      "tasks",
      "timing",
      "tokens",
      "total_steps",
    ]);
    expect(lines[1]).toMatchObject({ lr: 0.01, padded_tokens: 0, tasks: { sums: { targets: expect.any(Number) } } });
  });

  test("leaves the run folder of the contract; every JSON file of its own has a format_version", async () => {
    await trained;
    expect(readdirSync(at()).toSorted()).toEqual([
      "adapter",
      "best.json",
      "checkpoints",
      "config.resolved.yaml",
      "events.out.tfevents.tunesmith",
      "last.json",
      "mask-report.json",
      "metrics.jsonl",
      "plan.json",
      "report.html",
      "sft.json",
    ]);
    for (const name of ["best.json", "last.json", "mask-report.json", "plan.json", "sft.json"])
      expect(readJson(at(name))).toMatchObject({ format_version: 1 });
    // 14 linear layers of a 2-layer model: q, o 64→64; k, v 64→32; gate, up 64→112; down 112→64
    const trainable = 2 * 4 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 112));
    expect(readJson(at("plan.json"))).toMatchObject({ parameters: { trainable }, steps: 6 });
    expect(readJson(at("sft.json"))).toMatchObject({
      adapter: "adapter",
      method: "lora",
      steps: 6,
      chat_template: "adapter/chat_template.jinja",
    });
    expect(readFileSync(at("adapter", "chat_template.jinja"), "utf8")).toBe(CHAT_TEMPLATE);
    expect(existsSync(at("adapter", "tokenizer.json"))).toBe(true);
    expect(readJson(at("adapter", "adapter_config.json"))).toMatchObject({ peft_type: "LORA", r: 4, lora_alpha: 8 });
    expect((await runCli(["check", at("adapter"), at("config.resolved.yaml")])).exitCode).toBe(0);
  });

  test("its resolved config repeats it, to the byte", async () => {
    await trained;
    const again = await runCli(["train", at("config.resolved.yaml"), "--set", "output=../again"], { cwd });
    expect(again.exitCode).toBe(0);
    const name = join("adapter", "adapter_model.safetensors");
    expect(readFileSync(join(cwd, "again", name)).equals(readFileSync(at(name)))).toBe(true);
  });

  test("--self-check: four ways agree on the first step, and the run's bytes stay", async () => {
    await trained;
    const checked = await runCli(["train", "run.yaml", "--set", "output=checked", "--self-check", "--json"], { cwd });
    expect(checked.exitCode).toBe(0);
    expect(checked.stderr.match(/^self-check: .* differs by .*: ok$/gm)).toHaveLength(4);
    expect((checked.document()["self_check"] as object[]).map((check) => "ok" in check && check.ok)).toEqual(
      Array.from({ length: 4 }, () => true),
    );
    const name = join("adapter", "adapter_model.safetensors");
    expect(readFileSync(join(cwd, "checked", name)).equals(readFileSync(at(name)))).toBe(true);
  });

  test("padding instead of packing changes no loss", async () => {
    await trained;
    const padded = await runCli(["train", "run.yaml", "--set", "output=padded", "--set", "data.packing=false"], {
      cwd,
    });
    expect(padded.exitCode).toBe(0);
    const losses = (folder: string): number[] =>
      readLines(join(cwd, folder, "metrics.jsonl")).flatMap((line) => ("loss" in line ? [line["loss"] as number] : []));
    expect(losses("padded")).toHaveLength(6);
    for (const [i, loss] of losses("padded").entries()) expect(loss).toBeCloseTo(losses("run")[i]!, 4);
    expect(readLines(join(cwd, "padded", "metrics.jsonl")).some((line) => (line["padded_tokens"] as number) > 0)).toBe(
      true,
    );
  });

  test("eval CONFIG scores the best adapter exactly as the run did; --base scores the start", async () => {
    await trained;
    const { path, eval_loss: loss } = readJson(at("best.json"));
    expect((await runCli(["eval", "run.yaml", "--json"], { cwd })).document()).toMatchObject({
      loss,
      rows: 3,
      adapter: at(path as string, "adapter"),
    });
    const [start] = readLines(at("metrics.jsonl"));
    expect((await runCli(["eval", "run.yaml", "--base", "--json"], { cwd })).document()).toMatchObject({
      loss: start!["eval_loss"],
      adapter: null,
    });
  });

  test("logprobs has a line per row in Hugging Face's shapes, and its losses are those of eval", async () => {
    await trained;
    const args = ["--model", "model", "--adapter", "run/adapter", "--data", "sums.jsonl"];
    expect((await runCli(["logprobs", ...args, "--out", "out.jsonl", "--json"], { cwd })).document()).toMatchObject({
      rows: 12,
    });
    const lines = readLines(join(cwd, "out.jsonl")) as {
      row: number;
      input_ids: number[];
      labels: number[];
      logprobs: number[];
      loss: number;
    }[];
    expect(lines.map((line) => line.row)).toEqual(ROWS.map((_, i) => i));
    const [first] = lines;
    expect(first!.input_ids).toEqual([...idsOf("0+1=1"), EOS]);
    expect(first!.labels).toEqual([-100, -100, -100, -100, ...idsOf("1"), EOS]);
    expect(first!.logprobs).toHaveLength(first!.input_ids.length - 1);
    expect(first!.loss).toBeCloseTo(-(first!.logprobs[3]! + first!.logprobs[4]!) / 2, 6);
    for (const { logprobs } of lines) for (const value of logprobs) expect(value).toBeLessThan(0);
    // a row is scored as if it were alone
    writeFileSync(join(cwd, "one.jsonl"), JSON.stringify(ROWS[7]));
    await runCli(["logprobs", ...args.slice(0, 4), "--data", "one.jsonl", "--out", "one-out.jsonl"], { cwd });
    const [alone] = readLines(join(cwd, "one-out.jsonl")) as { logprobs: number[] }[];
    for (const [t, value] of alone!.logprobs.entries()) expect(value).toBeCloseTo(lines[7]!.logprobs[t]!, 5);
    const sum = lines.reduce(
      (total, { labels, loss }) => total + loss * labels.filter((label) => label !== -100).length,
      0,
    );
    const targets = lines.reduce((total, { labels }) => total + labels.filter((label) => label !== -100).length, 0);
    const result = (await runCli(["eval", ...args, "--json"], { cwd })).document();
    expect(result).toMatchObject({ targets, adapter: join(cwd, "run", "adapter") });
    expect(result["loss"]).toBeCloseTo(sum / targets, 6);
  });

  test("a second run needs --overwrite, which deletes runs and nothing else", async () => {
    await trained;
    const result = await runCli(["train", "run.yaml", "--json"], { cwd });
    expect(result.exitCode).toBe(2);
    expect(result.document().error).toMatchObject({
      code: "OUTPUT_EXISTS",
      path: at(),
      fix: expect.stringContaining("--overwrite"),
    });
    const precious = await runCli(["train", "run.yaml", "--overwrite", "--set", "output=model", "--json"], { cwd });
    expect(precious.document().error).toMatchObject({ code: "OUTPUT_NOT_A_RUN" });
    expect(existsSync(join(cwd, "model", "model.safetensors"))).toBe(true);
  });

  test("init_from continues an adapter; keys that contradict it are told at their line", async () => {
    await trained;
    const args = ["--set", "output=more", "--set", "tune.init_from=run/adapter"];
    const wrong = await runCli(["train", "run.yaml", ...args, "--set", "tune.r=8", "--json"], { cwd });
    expect(wrong.document().error).toMatchObject({
      code: "CONFIG_CONFLICT",
      message: "--set tune.r=8: `tune.r` is 8, and the adapter of tune.init_from has 4",
    });
    expect(existsSync(join(cwd, "more"))).toBe(false);
    const right = await runCli(["train", "run.yaml", ...args, "--set", "train.max_steps=1"], { cwd });
    expect(right.exitCode).toBe(0);
    const [start] = readLines(join(cwd, "more", "metrics.jsonl"));
    const end = readLines(at("metrics.jsonl")).findLast((line) => "eval_loss" in line);
    expect(start!["eval_loss"]).toBe(end!["eval_loss"]);
  });
});

describe("a run that does not reach its end", () => {
  test("SIGINT: the step is finished, the adapter saved, exit 130", async () => {
    const cwd = workplace();
    const controller = new AbortController();
    const running = runCli(["train", "run.yaml", "--set", "train.max_steps=100000", "--json"], {
      cwd,
      signal: controller.signal,
    });
    const metrics = join(cwd, "run", "metrics.jsonl");
    while (!existsSync(metrics) || readFileSync(metrics, "utf8").split("\n").length < 5)
      await new Promise((resolve) => setTimeout(resolve, 20));
    controller.abort("SIGINT");
    const result = await running;
    expect(result.exitCode).toBe(130);
    const { steps, stopped } = result.document() as unknown as { steps: number; stopped: string };
    expect(stopped).toBe("signal");
    expect(readLines(metrics).at(-1)!["step"]).toBe(steps);
    expect(readJson(join(cwd, "run", "last.json"))).toMatchObject({ step: steps });
    expect((await runCli(["check", join(cwd, "run", "adapter")])).exitCode).toBe(0);
  });

  test("patience counts evaluations without a better loss", async () => {
    const cwd = workplace();
    // a rate of almost nothing after a start: no evaluation is better than the one before by any digit
    const result = await runCli(
      ["train", "run.yaml", "--set", "eval={every: 1, patience: 2}", "--set", "train.learning_rate=1.0e-30", "--json"],
      { cwd },
    );
    expect(result.exitCode).toBe(0);
    expect(result.document()).toMatchObject({ stopped: "patience", steps: 2, best: { step: 0 } });
  });

  test("a number that is not finite: exit 3, no adapter of that state", async () => {
    const cwd = workplace();
    const result = await runCli(["train", "run.yaml", "--set", "train.learning_rate=1.0e38", "--json"], { cwd });
    expect(result.exitCode).toBe(3);
    expect(result.document().error).toMatchObject({
      code: "NON_FINITE",
      fix: expect.stringContaining("learning_rate"),
    });
    expect(existsSync(join(cwd, "run", "adapter"))).toBe(false);
  });
});

describe("what is wrong is said before the output folder exists", () => {
  test.each([
    ["a missing model", ["--set", "model=none"], "FILE_MISSING"],
    ["a missing data file", ["--set", "data.train.0.path=none.jsonl"], "FILE_MISSING"],
    ["rows that are too long", ["--set", "data.max_length=3"], "ROW_TOO_LONG"],
    ["target modules that match nothing", ["--set", "tune.target_modules=[q_prj]"], "TARGET_UNMATCHED"],
    ["an adapter that is none", ["--set", "tune.init_from=model"], "FILE_MISSING"],
  ])("%s", async (_, args, code) => {
    const cwd = workplace();
    const result = await runCli(["train", "run.yaml", ...args, "--json"], { cwd });
    expect([result.exitCode, result.document().error.code]).toEqual([2, code]);
    expect(existsSync(join(cwd, "run"))).toBe(false);
  });
});

describe("eval and logprobs refuse", () => {
  const cwd = workplace();
  test.each([
    [["eval", "run.yaml"], "FILE_MISSING"], // never trained
    [["eval", "run.yaml", "--data", "sums.jsonl"], "FLAG_CONFLICT"],
    [["eval", "--model", "model"], "FLAG_MISSING"],
    [["eval", "--model", "model", "--data", "sums.jsonl", "--base"], "FLAG_CONFLICT"],
    [["eval", "--model", "model", "--data", "sums.jsonl", "--train-on", "everything"], "FLAG_INVALID"],
    [["eval", "--model", "model", "--data", "sums.jsonl", "--max-length", "1000"], "FLAG_INVALID"],
    [["eval", "--model", "model", "--adapter", "model", "--data", "sums.jsonl"], "FILE_MISSING"],
    [["logprobs", "--model", "model", "--data", "sums.jsonl"], "FLAG_MISSING"],
    [["logprobs", "--model", "model", "--data", "sums.jsonl", "--out", "model"], "SYSTEM_ERROR"],
  ])("%j with %s", async (args, code) => {
    const result = await runCli([...args, "--json"], { cwd });
    expect([result.exitCode, result.document().error.code]).toEqual([2, code]);
  });
});
