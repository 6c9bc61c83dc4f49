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

type Signal = "SIGKILL" | "SIGINT";

/** @param kill.after - milliseconds; a process that ended before is left alone */
function train(
  cwd: string,
  flags: readonly string[],
  kill?: { readonly signal: Signal; readonly after: number },
): Promise<Ended> {
  const began = performance.now();
  const child = spawn(process.execPath, [BIN, "train", "run.yaml", ...flags], {
    cwd,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const timer = kill && setTimeout(() => child.kill(kill.signal), kill.after);
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

/** Times from a SIGINT to the end of the process, milliseconds. */
export interface Latencies {
  readonly median: number;
  readonly most: number;
}

/**
 * Sends a signal to so many runs, each at a time drawn from the whole length of a run, and expects of each, gone on with, what
 * an uninterrupted run leaves.
 * @returns how many were reached where, and how long they took to leave
 */
export async function expectKilledRunsToGoOn(
  count: number,
  signal: Signal,
): Promise<{ where: Record<string, number>; latencies: Latencies }> {
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
  const latencies: number[] = [];
  for (let draw = 0; latencies.length < count; draw++) {
    expect(draw, "runs end before the signal").toBeLessThan(4 * count + 10);
    rmSync(run, { recursive: true, force: true });
    const after = time * uniform(SEED, 0, 0, draw);
    const ended = await train(cwd, [], { signal, after });
    if (ended.code === 0) continue;
    latencies.push(ended.time - after);
    const progress = progressOf(run);
    where[progress] = (where[progress] ?? 0) + 1;
    const about = `${signal} ${latencies.length} after ${after.toFixed()} ms, ${progress}`;
    // before the program listens, a signal ends it as the system does
    if (signal === "SIGINT" && existsSync(run)) expect(ended.code, about).toBe(130);
    let resumed = await train(cwd, existsSync(run) ? ["--resume"] : []);
    if (resumed.stderr.includes("CHECKPOINT_MISSING")) {
      expect([signal, progress], about).not.toContain(signal === "SIGINT" ? "SIGINT" : "after a checkpoint");
      resumed = await train(cwd, ["--overwrite"]);
    }
    expect(resumed, about).toMatchObject({ code: 0 });
    const outcome = runOutcome(filesOf(run));
    if (signal === "SIGKILL") expect(outcome, about).toEqual(whole);
    else expect(outcome, about).toMatchObject(besideRotation(whole, outcome));
  }
  const sorted = latencies.toSorted((a, b) => a - b);
  return { where, latencies: { median: sorted[sorted.length >> 1]!, most: sorted.at(-1)! } };
}

/** The checkpoint that a signal made may have pushed an older one out. */
function besideRotation(whole: Record<string, unknown>, outcome: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(whole).filter(([path]) => !path.startsWith("checkpoints/") || path in outcome),
  );
}
