// `train --profile` beside the same run without it. Needs a WebGPU device; software counts.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ChromeTrace, Profile } from "@tunesmith/tensor";
import { beforeAll, describe, expect, test } from "vitest";
import { type CliResult, folderWith, runCli } from "../../../../tests/support/cli.ts";
import { modelFolder } from "../../../../tests/support/model-folder.ts";

const ROWS = Array.from({ length: 6 }, (_, i) => `${JSON.stringify({ prompt: `${i}+1=`, completion: `${i + 1}` })}\n`);
const cwd = folderWith({
  ...modelFolder("model", { weights: true }),
  "sums.jsonl": ROWS.join(""),
  "run.yaml": `model: model
output: plain
data: {train: [{path: sums.jsonl}]}
tune: {r: 4, alpha: 8}
train: {max_steps: 3, batch_size: 3, learning_rate: 1.0e-2}
`,
});
interface Line {
  readonly timing: { readonly seconds: number; readonly mfu?: number; readonly model_flops?: number };
}
const lines = (run: string): Line[] =>
  readFileSync(join(cwd, run, "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
const json = <T>(name: string): T & { format_version: number } =>
  JSON.parse(readFileSync(join(cwd, "profiled", name), "utf8")) as T & { format_version: number };

let profiled: CliResult;
beforeAll(async () => {
  await runCli(["train", "run.yaml"], { cwd });
  profiled = await runCli(["train", "run.yaml", "--profile", "--set", "output=profiled", "--json"], { cwd });
});

describe("a profiled run", () => {
  test("computes the same, bit for bit", () => {
    expect(profiled.exitCode).toBe(0);
    const numbers = (run: string): unknown => lines(run).map((line) => ({ ...line, timing: undefined }));
    expect(numbers("profiled")).toEqual(numbers("plain"));
    const weights = (run: string): Buffer => readFileSync(join(cwd, run, "adapter", "adapter_model.safetensors"));
    expect(weights("profiled").equals(weights("plain"))).toBe(true);
  });

  test("says where the time went: on stderr and in profile.json", () => {
    const profile = json<Profile>("profile.json");
    expect(profile.format_version).toBe(1);
    expect(profile.programs.map(({ replays }) => replays)).toEqual([2, 2]); // of three steps, the first compiles
    const kernels = profile.kernels.map(({ kernel }) => kernel);
    expect(kernels).toContain("adamw");
    for (const kernel of kernels) expect(profiled.stderr).toContain(`\n${kernel} `);
    expect(profiled.stderr).toMatch(/this device copies [\d.]+ GB\/s and multiplies matrices with [\d.]+ GFLOP\/s/);
    expect(profile.seconds).toBeGreaterThan(0);
    expect(JSON.parse(profiled.stdout)).toMatchObject({ steps: 3 }); // the table is not on stdout
  });

  test("leaves a trace of every timed dispatch", () => {
    const { programs } = json<Profile>("profile.json");
    const { traceEvents } = json<ChromeTrace>("trace.json");
    const dispatches = traceEvents.filter(({ cat }) => cat === "dispatches");
    expect(dispatches).toHaveLength(programs.reduce((sum, { launches, replays }) => sum + launches * replays, 0));
  });

  test("logs model FLOPs and their share of the roof; without the flag nothing is added", () => {
    const { roof } = json<Profile>("profile.json");
    for (const { timing } of lines("profiled")) {
      expect(timing.model_flops).toBeGreaterThan(1e5);
      expect(timing.mfu).toBeCloseTo(timing.model_flops! / timing.seconds / roof.matmul_flops_per_second, 9);
    }
    for (const { timing } of lines("plain")) expect(Object.keys(timing)).toEqual(["seconds", "tokens_per_second"]);
    for (const name of ["profile.json", "trace.json"]) expect(existsSync(join(cwd, "plain", name))).toBe(false);
  });
});
