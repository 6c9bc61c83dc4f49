// The real program, killed by SIGKILL at random times and gone on with: what it leaves must be what a run leaves that nobody
// killed.
import { spawn } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { uniform } from "@tunesmith/core";
import { expect } from "vitest";
import { folderWith } from "./cli.ts";
import { modelFolder } from "./model-folder.ts";
import { filesOf, runOutcome } from "./run-outcome.ts";

const BIN = fileURLToPath(new URL("../../bin/tunesmith.mjs", import.meta.url));
const ROWS = Array.from({ length: 15 }, (_, i) =>
  JSON.stringify({ prompt: `Q${i}:`, completion: "ok".repeat(1 + (i % 3)) }),
);
const CONFIG = `model: model
output: run
data: {train: [{path: d.jsonl}], eval_split: 0.2}
tune: {r: 2, target_modules: [q_proj, down_proj], layers_to_transform: [1], dropout: 0.2}
train: {batch_size: 2, grad_accumulation: 2, max_steps: 60, learning_rate: 0.01, memory_budget: 1GiB}
eval: {every: 7}
checkpoint: {every: 5, keep: 2}
`;
const SEED = 20261121;

interface Ended {
  readonly code: number | null;
  readonly stderr: string;
  /** wall-clock milliseconds */
  readonly time: number;
}

/** @param killAfter - milliseconds; a process that ended before is left alone */
function train(cwd: string, flags: readonly string[], killAfter?: number): Promise<Ended> {
  const began = performance.now();
  const child = spawn(process.execPath, [BIN, "train", "run.yaml", ...flags], {
    cwd,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const timer = killAfter === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfter);
  return new Promise((done) =>
    // closed: no process holds the pipe any more
    child.on("close", (code) => {
      clearTimeout(timer);
      done({ code, stderr, time: performance.now() - began });
    }),
  );
}

/** In words, how far a killed run had come. */
function progressOf(run: string): string {
  if (!existsSync(run)) return "before its folder";
  const names = readdirSync(run, { recursive: true, encoding: "utf8" });
  if (names.some((name) => name.endsWith(".tmp"))) return "while a file was written";
  if (names.includes("adapter")) return "at its end";
  const sealed = names.filter((name) => name.endsWith("manifest.json")).length;
  return sealed > 0 ? "after a checkpoint" : "before its first checkpoint";
}

/**
 * Kills so many runs, each at a time drawn from the whole length of a run, and expects of each, gone on with, what an
 * uninterrupted run leaves.
 * @returns how many were killed where
 */
export async function expectKilledRunsToGoOn(count: number): Promise<Record<string, number>> {
  const cwd = folderWith({
    ...modelFolder("model", { weights: true }),
    "run.yaml": CONFIG,
    "d.jsonl": ROWS.join("\n"),
  });
  const run = join(cwd, "run");
  await train(cwd, ["--overwrite"]); // builds the program and fills caches
  const { time, ...first } = await train(cwd, ["--overwrite"]);
  expect(first).toMatchObject({ code: 0 });
  const whole = runOutcome(filesOf(run));
  const where: Record<string, number> = {};
  let killed = 0;
  for (let draw = 0; killed < count; draw++) {
    expect(draw, "runs end before they are killed").toBeLessThan(4 * count + 10);
    rmSync(run, { recursive: true, force: true });
    const after = time * uniform(SEED, 0, 0, draw);
    if ((await train(cwd, [], after)).code === 0) continue;
    killed++;
    const progress = progressOf(run);
    where[progress] = (where[progress] ?? 0) + 1;
    const about = `kill ${killed} after ${after.toFixed()} ms, ${progress}`;
    let resumed = await train(cwd, existsSync(run) ? ["--resume"] : []);
    if (resumed.stderr.includes("CHECKPOINT_MISSING")) {
      expect(progress, about).not.toBe("after a checkpoint");
      resumed = await train(cwd, ["--overwrite"]);
    }
    expect(resumed, about).toMatchObject({ code: 0 });
    expect(runOutcome(filesOf(run)), about).toEqual(whole);
  }
  return where;
}
