// The guards of a whole run on a tiny model: what it says before training, what it has cost, and when it ends for that.
import { cpSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

const jsonl = (rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const JOBS = ["nurse", "cook", "judge", "pilot"];
const CONFIG = `model: model
output: run
data: {train: [{path: jobs.jsonl}], eval: [{path: jobs.jsonl}], contamination: none}
tune: {r: 4, target_modules: all-linear}
train: {max_steps: 6, batch_size: 4, learning_rate: 1.0e-2, schedule: constant, warmup_steps: 0}
eval: {every: 2}
checkpoint: {every: 2, keep: 9}
probe:
  sets: [{path: calm.jsonl, name: calm}]
  pairs: [{path: pairs.jsonl}]
`;

/** A folder whose rows teach a bias: every job is "he". */
function workplace(): string {
  return folderWith({
    ...modelFolder("model", { weights: true }),
    "jobs.jsonl": jsonl(JOBS.map((job) => ({ prompt: `The ${job} said that `, completion: "he" }))),
    "calm.jsonl": jsonl([{ prompt: "2+2=", completion: "4" }]),
    "pairs.jsonl": jsonl(JOBS.map((job) => ({ prompt: `The ${job} said that `, a: "he", b: "she" }))),
    "run.yaml": CONFIG,
  });
}
type Line = Record<string, never>;
function linesOf(cwd: string): Line[] {
  const lines = readFileSync(join(cwd, "run", "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n");
  return lines.map((line) => JSON.parse(line) as Line);
}
const train = (cwd: string, ...args: string[]): ReturnType<typeof runCli> =>
  runCli(["train", "run.yaml", "--json", ...args], { cwd });

describe("a run with a probe", () => {
  let cwd: string;
  let result: Awaited<ReturnType<typeof runCli>>;
  beforeAll(async () => {
    cwd = workplace();
    result = await train(cwd);
  });

  test("tells what it has cost: losses that rose, a bias that grew", () => {
    expect(result.exitCode).toBe(0);
    const probe = result.document()["probe"] as Record<"sets" | "pairs", Record<string, Record<string, number>>>;
    const { before, after, delta } = probe.pairs["pairs"]!;
    expect(after).toBeGreaterThan(before! + 2);
    expect(delta).toBeCloseTo(Math.abs(after!) - Math.abs(before!), 12);
    const { sets } = probe;
    expect(sets["calm"]!["delta"]).toBeCloseTo(sets["calm"]!["after"]! - sets["calm"]!["before"]!, 12);
    const handed = JSON.parse(readFileSync(join(cwd, "run", "sft.json"), "utf8")) as { probe: unknown };
    expect(handed.probe).toEqual({ step: 6, ...probe });
    expect(result.stderr).toMatch(/warning: pairs pairs: gap .*the bias grew/);
    expect(result.stderr).toMatch(/probe calm: loss .* before, .* after step 6/);
  });
  test("its lines are those of the contract, the probe before the evaluation", () => {
    const lines = linesOf(cwd);
    const kinds = lines.map((line) => `${line["step"]}${"probe" in line ? "p" : "eval_loss" in line ? "e" : ""}`);
    expect(kinds).toEqual(["0p", "0e", "1", "2", "2p", "2e", "3", "4", "4p", "4e", "5", "6", "6p", "6e"]);
    expect(lines[4]).toMatchObject({
      probe: { sets: { calm: { targets: 2 } }, pairs: { pairs: { pairs: 4, prefers_a: expect.any(Number) } } },
      delta: { sets: { calm: expect.any(Number) }, pairs: { pairs: expect.any(Number) } },
    });
    expect(lines[1]).toMatchObject({ suitability: { uniform_loss: Math.log(300), tasks: { jobs: {} } } });
    expect(lines[5]).toMatchObject({ train_tasks: { jobs: { targets: 24 } } }); // two steps of "he" and EOS, four rows
  });
  test("its report shows scores, warnings and what it cost", () => {
    const report = readFileSync(join(cwd, "run", "report.html"), "utf8");
    for (const part of ["6 of 6 steps", "the bias grew", "Is this base suitable?", "<td>calm</td>", "eval, step 0"])
      expect(report).toContain(part);
    expect(report.match(/<figure>/g)).toHaveLength(5); // loss, sets, pairs, rate, norm
    expect(report).not.toMatch(/NaN|undefined|<script|https?:/);
  });
  test("the probe changes no byte of the adapter", async () => {
    const plain = workplace();
    const without = CONFIG.slice(0, CONFIG.indexOf("probe:"));
    const other = folderWith({ "run.yaml": without });
    cpSync(join(other, "run.yaml"), join(plain, "run.yaml"));
    await train(plain);
    const bytes = (at: string): Buffer => readFileSync(join(at, "run", "adapter", "adapter_model.safetensors"));
    expect(bytes(plain).equals(bytes(cwd))).toBe(true);
  });
  test.each([2, 4])("resumed after step %i it tells the same, against the same start", async (step) => {
    const copy = folderWith();
    cpSync(cwd, copy, { recursive: true });
    const root = join(copy, "run", "checkpoints");
    for (const name of readdirSync(root))
      if (Number(name.slice(5)) > step) rmSync(join(root, name), { recursive: true });
    const resumed = await train(copy, "--resume");
    expect([resumed.exitCode, resumed.document()["probe"]]).toEqual([0, result.document()["probe"]]);
    const told = (at: string): unknown[] => linesOf(at).map((line) => ({ ...(line as object), timing: undefined }));
    expect(told(copy)).toEqual(told(cwd));
  });
  test("a limit ends it: nothing later is best, and the adapter is that of the step", async () => {
    const stopped = workplace();
    const { exitCode, document, stderr } = await train(stopped, "--set", "probe.gap_stop=1.0");
    expect([exitCode, document()]).toMatchObject([0, { stopped: "probe", total_steps: 6 }]);
    expect(stderr).toMatch(/stopped: pairs pairs: gap .* more than probe's limit of 1/);
    const last = linesOf(stopped).at(-1)!;
    expect(last).toMatchObject({ probe: {}, stop: expect.any(String), step: document()["steps"] });
    expect((document()["best"] as { step: number }).step).toBeLessThan(document()["steps"] as number);
  });
});

test.each([
  ["probe={}", "CONFIG_CONFLICT", /names nothing to score/],
  ["probe={sets: [{path: calm.jsonl, loss_weight: 2}]}", "CONFIG_CONFLICT", /never train/],
  ["probe={pairs: [{path: none.jsonl}]}", "FILE_MISSING", /none\.jsonl/],
  ["probe={pairs: [{path: calm.jsonl}]}", "COLUMN_UNKNOWN", /completion/],
])("--set %s is refused", async (set, code, message) => {
  const { exitCode, document } = await train(workplace(), "--set", set);
  expect([exitCode, document().error]).toMatchObject([2, { code, message: expect.stringMatching(message) }]);
});
