// `sample`: what a model says while it learns, and that asking it changes nothing.
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

const jsonl = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const CONFIG = `model: model
output: run
data: {train: [{path: a.jsonl}]}
tune: {r: 4, target_modules: [q_proj, down_proj]}
train: {max_steps: 5, batch_size: 4, learning_rate: 1.0e-2, schedule: constant, warmup_steps: 0}
checkpoint: {every: 3}
sample: {path: prompts.jsonl, every: 2, max_new_tokens: 6}
`;
function workplace(): string {
  return folderWith({
    ...modelFolder("model", { weights: true }),
    "a.jsonl": jsonl(Array.from({ length: 8 }, (_, i) => ({ prompt: `${i}: `, completion: "yes" }))),
    "prompts.jsonl": jsonl([{ prompt: "3: " }, { prompt: [{ role: "user", content: "hi" }] }]),
    "run.yaml": CONFIG,
  });
}
const train = (cwd: string, ...sets: string[]): ReturnType<typeof runCli> =>
  runCli(["train", "run.yaml", "--json", ...sets.flatMap((set) => ["--set", set])], { cwd });

describe("samples of a run", () => {
  let cwd: string;
  let stderr: string;
  let exitCode: number;
  beforeAll(async () => {
    cwd = workplace();
    const result = await train(cwd);
    ({ stderr, exitCode } = result);
  });
  const at = (...names: string[]): string => join(cwd, "run", ...names);
  const samplesOf = (name: string): Record<string, unknown>[] =>
    readFileSync(at("samples", name), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  test("are drawn at step 0, every so many updates and at the end", () => {
    expect(exitCode).toBe(0);
    expect(readdirSync(at("samples"))).toEqual(["step-0.jsonl", "step-2.jsonl", "step-4.jsonl", "step-5.jsonl"]);
    const lines = samplesOf("step-2.jsonl");
    expect(lines).toMatchObject([
      { format_version: 1, step: 2, row: 0, prompt: "3: " },
      { step: 2, row: 1, prompt: "user: hi\nassistant: " },
    ]);
    expect(stderr).toMatch(/step 5 {2}sample "/);
  });
  test.each([
    ["step-0.jsonl", []],
    ["step-5.jsonl", ["--adapter", "run/adapter"]],
  ])("%s is what generate says with that state", async (name, adapter) => {
    const args = ["--model", "model", ...adapter, "--data", "prompts.jsonl", "--max-new-tokens", "6"];
    await runCli(["generate", ...args, "--out", "said.jsonl"], { cwd });
    const said = readFileSync(join(cwd, "said.jsonl"), "utf8").trimEnd().split("\n");
    for (const [row, line] of said.entries()) {
      const { text, ids } = JSON.parse(line) as { text: string; ids: number[] };
      expect(samplesOf(name)[row]).toMatchObject({ text, ids });
    }
    expect(samplesOf("step-0.jsonl")[0]!["ids"]).not.toEqual(samplesOf("step-5.jsonl")[0]!["ids"]);
  });
  test("change no byte of the adapter, and come again after a resumption", async () => {
    const file = at("adapter", "adapter_model.safetensors");
    const bytes = readFileSync(file);
    const before = readdirSync(at("samples")).map((name) => readFileSync(at("samples", name), "utf8"));
    for (const name of ["samples", "adapter"]) rmSync(at(name), { recursive: true });
    await runCli(["train", "run.yaml", "--resume"], { cwd });
    expect(readFileSync(file).equals(bytes)).toBe(true);
    expect(readdirSync(at("samples"))).toEqual(["step-4.jsonl", "step-5.jsonl"]);
    expect(readdirSync(at("samples")).map((name) => readFileSync(at("samples", name), "utf8"))).toEqual(
      before.slice(2),
    );
    const plain = folderWith({
      ...modelFolder("model", { weights: true }),
      "a.jsonl": readFileSync(join(cwd, "a.jsonl")),
    });
    const other = folderWith({ "run.yaml": CONFIG.slice(0, CONFIG.indexOf("sample:")) });
    await runCli([
      "train",
      join(other, "run.yaml"),
      ...["model", "data.train.0.path"].flatMap((key) => [
        "--set",
        `${key}=${join(plain, key === "model" ? "model" : "a.jsonl")}`,
      ]),
    ]);
    expect(readFileSync(join(other, "run", "adapter", "adapter_model.safetensors")).equals(bytes)).toBe(true);
  });
  test("a signal while they are drawn is obeyed, and --resume draws them", async () => {
    const stopped = workplace();
    const controller = new AbortController();
    const set = "sample={path: prompts.jsonl, steps: [3], max_new_tokens: 100, temperature: 1}";
    const running = runCli(["train", "run.yaml", "--json", "--set", set], { cwd: stopped, signal: controller.signal });
    const metrics = join(stopped, "run", "metrics.jsonl");
    const watch = setInterval(() => {
      // the third step has landed: samples come next
      if (existsSync(metrics) && readFileSync(metrics, "utf8").includes('"step":3,')) controller.abort("SIGINT");
    }, 1);
    const { exitCode: code, document } = await running;
    clearInterval(watch);
    expect([code, document()]).toMatchObject([130, { stopped: "signal" }]);
    await runCli(["train", "run.yaml", "--resume", "--set", set], { cwd: stopped });
    const whole = workplace();
    await train(whole, set);
    const drawn = (folder: string): string => readFileSync(join(folder, "run", "samples", "step-3.jsonl"), "utf8");
    expect(drawn(stopped)).toBe(drawn(whole));
  });
  test("may be drawn after chosen updates", async () => {
    const chosen = workplace();
    await train(chosen, "sample={path: prompts.jsonl, steps: [1], max_new_tokens: 2, temperature: 1}");
    expect(readdirSync(join(chosen, "run", "samples"))).toEqual(["step-1.jsonl", "step-5.jsonl"]);
  });
});

test.each([
  ["sample={path: none.jsonl}", "FILE_MISSING", /none\.jsonl/],
  ["sample={path: empty.jsonl}", "TASK_EMPTY", /no rows/],
  ["sample={path: long.jsonl}", "ROW_TOO_LONG", /prompt 0 has 400 tokens/],
  ["sample={path: prompts.jsonl, every: 5, steps: [1]}", "CONFIG_CONFLICT", /either decides alone/],
])("--set %s is refused before anything is written", async (set, code, message) => {
  const cwd = workplace();
  const files = folderWith({ "empty.jsonl": "\n", "long.jsonl": JSON.stringify({ prompt: "x".repeat(400) }) });
  const { exitCode, document } = await train(
    cwd,
    set.replace(/empty|long/, (name) => join(files, name)),
  );
  expect([exitCode, document().error]).toMatchObject([2, { code, message: expect.stringMatching(message) }]);
  expect(existsSync(join(cwd, "run"))).toBe(false);
});
