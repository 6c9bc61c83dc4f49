import { createHash } from "node:crypto";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";
import { EVENT_FILE } from "../tensorboard/event-file.ts";
import { recordEnds } from "../tensorboard/tf-record.ts";

const ROWS = Array.from({ length: 14 }, (_, i) =>
  JSON.stringify({ prompt: `Q${i}:`, completion: "ok".repeat(1 + (i % 3)) }),
);
const CONFIG = `model: model
output: run
data: {train: [{path: d.jsonl}], eval_split: 0.2}
tune: {r: 2, target_modules: [q_proj, down_proj], dropout: 0.2, train_new_tokens: [Q, k]}
train: {batch_size: 2, grad_accumulation: 2, max_steps: 10, learning_rate: 0.01}
eval: {every: 3}
checkpoint: {every: 2, keep: 2}
`;

/** Everything a run leaves that must not depend on when it stopped. */
function outcome(cwd: string): Record<string, unknown> {
  const run = join(cwd, "run");
  const bytes = (...path: string[]): string =>
    createHash("sha256")
      .update(readFileSync(join(run, ...path)))
      .digest("hex");
  const lines = readFileSync(join(run, "metrics.jsonl"), "utf8").trimEnd().split("\n");
  return {
    records: recordEnds(readFileSync(join(run, EVENT_FILE))).length,
    adapter: bytes("adapter", "adapter_model.safetensors"),
    optimizer: bytes("checkpoints", "step-8", "optimizer.safetensors"),
    best: bytes("best.json"),
    folders: readdirSync(join(run, "checkpoints")).toSorted(),
    metrics: lines.map((line) => ({ ...(JSON.parse(line) as object), timing: undefined })),
  };
}

describe("--resume", () => {
  let whole: string;
  beforeAll(async () => {
    whole = folderWith({ ...modelFolder("model", { weights: true }), "run.yaml": CONFIG, "d.jsonl": ROWS.join("\n") });
    await runCli(["train", "run.yaml", "--json"], { cwd: whole });
  });
  /** The folder as a process would have left it that was killed some time after the checkpoint of `step`. */
  function killedAfter(step: number): string {
    const cwd = folderWith();
    cpSync(whole, cwd, { recursive: true });
    const root = join(cwd, "run", "checkpoints");
    for (const name of readdirSync(root))
      if (Number(name.slice(5)) > step) rmSync(join(root, name), { recursive: true });
    for (const name of ["adapter", "sft.json", "last.json"]) rmSync(join(cwd, "run", name), { recursive: true });
    return cwd;
  }
  const resume = (cwd: string, ...sets: string[]): ReturnType<typeof runCli> =>
    runCli(["train", "run.yaml", "--resume", "--json", ...sets.flatMap((set) => ["--set", set])], { cwd });

  test("keeps the newest checkpoints and the best adapters they know of", () => {
    const { folders } = outcome(whole) as { folders: string[] };
    expect(existsSync(join(whole, "run", "sft.json"))).toBe(true);
    const { records, metrics } = outcome(whole) as { records: number; metrics: object[] };
    expect(records).toBe(1 + metrics.length);
    expect(folders).toEqual(expect.arrayContaining(["step-6", "step-8"]));
    for (const name of folders) {
      const sealed = existsSync(join(whole, "run", "checkpoints", name, "manifest.json"));
      expect(sealed || name === "step-0" || Number(name.slice(5)) % 3 === 0 || name === "step-10").toBe(true);
    }
  });

  test.each([6, 8])("after step %i the run ends as if it had never stopped, to the bit", async (step) => {
    const cwd = killedAfter(step);
    // what was appended last may be torn
    writeFileSync(join(cwd, "run", "metrics.jsonl"), readFileSync(join(cwd, "run", "metrics.jsonl"), "utf8") + '{"st');
    const { exitCode, stderr } = await resume(cwd);
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining(`resumed after step ${step}`)]);
    expect(outcome(cwd)).toEqual(outcome(whole));
  });

  test("a checkpoint that is not whole is passed over, and said so", async () => {
    const cwd = killedAfter(8);
    const damaged = join(cwd, "run", "checkpoints", "step-8", "optimizer.safetensors");
    const bytes = readFileSync(damaged);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(damaged, bytes);
    const { exitCode, stderr } = await resume(cwd);
    expect([exitCode, stderr]).toEqual([0, expect.stringMatching(/skipped: .*step-8.*optimizer\.safetensors/)]);
    expect(stderr).toContain("resumed after step 6");
    expect(outcome(cwd)).toEqual(outcome(whole));
  });

  test("a signal saves the step it ends; going on gives the same bytes", async () => {
    const cwd = folderWith({
      ...modelFolder("model", { weights: true }),
      "run.yaml": CONFIG,
      "d.jsonl": ROWS.join("\n"),
    });
    const controller = new AbortController();
    let lines = 0;
    const watch = setInterval(() => {
      const path = join(cwd, "run", "metrics.jsonl");
      lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").length - 1 : 0;
      if (lines >= 4) controller.abort("SIGINT");
    }, 1);
    const stopped = await runCli(["train", "run.yaml", "--json"], { cwd, signal: controller.signal });
    clearInterval(watch);
    expect(stopped.exitCode).toBe(130);
    const { steps, total_steps: total } = stopped.document() as unknown as { steps: number; total_steps: number };
    expect(steps).toBeLessThan(total);
    expect(existsSync(join(cwd, "run", "checkpoints", `step-${steps}`, "manifest.json"))).toBe(true);
    expect((await resume(cwd)).exitCode).toBe(0);
    const { folders: _, ...rest } = outcome(cwd);
    const { folders: __, ...expected } = outcome(whole);
    expect(rest).toEqual(expected);
  });

  const edit = (cwd: string, name: string, from: string, to: string): undefined => {
    const path = join(cwd, "model", name);
    const text = readFileSync(path, "utf8");
    expect(text).toContain(from);
    writeFileSync(path, text.replace(from, to));
  };

  test.each<[string, (cwd: string) => string | undefined, string]>([
    ["another rate", () => "train.learning_rate=0.02", "train.learning_rate"],
    ["another seed", () => "seed=7", "seed"],
    ["a shorter run", () => "train.max_steps=9", "train.max_steps"],
    ["another rank", () => "tune.r=4", "tune.r"],
    ["other rows", (cwd) => void writeFileSync(join(cwd, "d.jsonl"), ROWS.toReversed().join("\n")), "rows"],
    ["other eval rows", () => "data.eval_split=0.3", "eval_rows"],
    ["another template", (cwd) => edit(cwd, "tokenizer_config.json", "{% endif %}", "{% endif %} "), "template"],
    ["another tokenizer", (cwd) => edit(cwd, "tokenizer.json", '"truncation":null', '"truncation": null'), "tokenizer"],
    [
      "another base",
      (cwd) => {
        const path = join(cwd, "model", "model.safetensors");
        const bytes = readFileSync(path);
        bytes[bytes.length - 1]! ^= 1;
        writeFileSync(path, bytes);
        return undefined;
      },
      "base",
    ],
  ])("%s is refused by name, and nothing is touched", async (_, change, named) => {
    const cwd = killedAfter(8);
    const set = change(cwd);
    const before = readFileSync(join(cwd, "run", "metrics.jsonl"), "utf8");
    const document = (await resume(cwd, ...(set === undefined ? [] : [set]))).document();
    expect(document.error).toMatchObject({ code: "CHECKPOINT_CHANGED", message: expect.stringContaining(named) });
    expect(readFileSync(join(cwd, "run", "metrics.jsonl"), "utf8")).toBe(before);
  });

  test("where it may differ: the run's folder has moved, later checkpoints are kept longer", async () => {
    const cwd = killedAfter(8);
    cpSync(join(cwd, "run"), join(cwd, "moved"), { recursive: true });
    expect((await resume(cwd, "output=moved", "checkpoint.keep=5")).exitCode).toBe(0);
  });

  test("without a checkpoint, and beside --overwrite, it is an error", async () => {
    const cwd = folderWith({
      ...modelFolder("model", { weights: true }),
      "run.yaml": CONFIG,
      "d.jsonl": ROWS.join("\n"),
    });
    expect((await resume(cwd)).document()).toMatchObject({ error: { code: "CHECKPOINT_MISSING" } });
    const both = await runCli(["train", "run.yaml", "--resume", "--overwrite", "--json"], { cwd });
    expect(both.document()).toMatchObject({ error: { code: "FLAG_CONFLICT" } });
  });
});
