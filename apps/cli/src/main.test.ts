// The program as a process: streams, signals, exit codes. Runs `bin/tunesmith.mjs`, which builds first if it must.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { folderWith } from "../../../tests/support/cli.ts";
import { modelFolder } from "../../../tests/support/model-folder.ts";

const BIN = fileURLToPath(new URL("../../../bin/tunesmith.mjs", import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[], cwd: string): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [BIN, ...args], { cwd, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = new Promise<Ended>((resolve) => child.on("close", (code) => resolve({ code, stdout, stderr })));
  return { child, ended };
}

function run(args: readonly string[], cwd = process.cwd()): Promise<Ended> {
  return start(args, cwd).ended;
}

test("--version is the package's", async () => {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  expect(await run(["--version"])).toMatchObject({ code: 0, stdout: `${version}\n` });
});

test("stdout is one document and nothing else, also when Dawn and the driver have things to say", async () => {
  const { code, stdout } = await run(["doctor", "--json"]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ ok: true });
});

test("a failure leaves stdout empty and ends with its code", async () => {
  expect(await run(["chekc"])).toMatchObject({
    code: 2,
    stdout: "",
    stderr: expect.stringContaining("error COMMAND_UNKNOWN"),
  });
});

test("a reader that goes away is no failure", async () => {
  const { child, ended } = start(["--help"], process.cwd());
  child.stdout!.destroy();
  expect((await ended).code).toBe(0);
});

describe.skipIf(process.platform === "win32")("signals (Windows has none that a parent could send)", () => {
  const CONFIG =
    "model: model\noutput: run\ndata:\n  train: [{path: d.jsonl}]\ntrain: {max_steps: 1000000, batch_size: 1}\n";
  const files = { ...modelFolder("model", { weights: true }), "d.jsonl": '{"text":"abcdef"}', "run.yaml": CONFIG };

  /** A run that is in the middle of its steps. */
  async function running(cwd: string): Promise<ReturnType<typeof start>> {
    const started = start(["train", "run.yaml", "--json"], cwd);
    const metrics = join(cwd, "run", "metrics.jsonl");
    while (!existsSync(metrics) || readFileSync(metrics).length === 0)
      await new Promise((resolve) => setTimeout(resolve, 50));
    return started;
  }

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s ends a run after its step with a whole adapter and exit %i", async (signal, code) => {
    const cwd = folderWith(files);
    const { child, ended } = await running(cwd);
    child.kill(signal);
    const result = await ended;
    expect(result.code).toBe(code);
    expect(JSON.parse(result.stdout)).toMatchObject({ stopped: "signal" });
    expect((await run(["check", "run/adapter"], cwd)).code).toBe(0);
  });

  test("while rows are tokenized a signal leaves at once, and no folder", async () => {
    const rows = Array.from({ length: 60_000 }, (_, i) => JSON.stringify({ text: `row ${i} ${"x".repeat(60)}` }));
    const cwd = folderWith({ ...files, "d.jsonl": rows.join("\n") });
    const { child, ended } = start(["train", "run.yaml", "--json", "--set", "data.cache=cache"], cwd);
    const shards = (): string[] =>
      existsSync(join(cwd, "cache")) ? readdirSync(join(cwd, "cache"), { recursive: true, encoding: "utf8" }) : [];
    while (!shards().some((name) => name.includes("shard-"))) await new Promise((resolve) => setTimeout(resolve, 10));
    child.kill("SIGINT");
    const { code, stdout } = await ended;
    expect(code).toBe(130);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: "INTERRUPTED" } });
    expect(existsSync(join(cwd, "run"))).toBe(false);
    expect(shards().some((name) => name.endsWith("manifest.json"))).toBe(false);
  });

  test("the second signal leaves at once", async () => {
    const cwd = folderWith(files);
    const { child, ended } = await running(cwd);
    // stopped, so that both signals are waiting when it goes on
    child.kill("SIGSTOP");
    child.kill("SIGINT");
    child.kill("SIGTERM");
    child.kill("SIGCONT");
    const { code, stdout } = await ended;
    expect([130, 143]).toContain(code);
    expect(stdout).toBe("");
    expect(existsSync(join(cwd, "run", "adapter"))).toBe(false);
  });
});
