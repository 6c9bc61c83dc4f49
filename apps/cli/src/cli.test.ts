import { describe, expect, test, vi } from "vitest";
import { folderWith, runCli } from "../../../tests/support/cli.ts";
import * as check from "./commands/check.ts";

describe("streams and exit codes", () => {
  test("help and version go to stdout and end with 0", async () => {
    expect(await runCli([])).toMatchObject({ exitCode: 0, stderr: "" });
    expect((await runCli(["check", "--help"])).stdout).toContain("tunesmith check PATH...");
    expect((await runCli(["--version"])).stdout).toBe("0.0.0-test\n");
    expect((await runCli(["--version", "--json"])).document()).toEqual({ version: "0.0.0-test" });
  });
  test("a failure is text on stderr: code, message, fix, and nothing on stdout", async () => {
    const { exitCode, stdout, stderr } = await runCli(["chekc"]);
    expect(exitCode).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(
      /^error COMMAND_UNKNOWN: unknown command `chekc`\n {2}expected: .*\nfix: did you mean `tunesmith check`\?\n$/,
    );
  });
  test("with --json it is exactly one document on stdout, also where the words themselves are wrong", async () => {
    const result = await runCli(["--json", "check", "x", "--nope"]);
    expect(result).toMatchObject({ exitCode: 2, stderr: "" });
    expect(result.document()).toEqual({
      error: {
        code: "FLAG_UNKNOWN",
        message: "unknown option --nope for `tunesmith check`",
        received: "--nope",
        fix: "run `tunesmith check --help`",
      },
    });
    expect(result.stdout.split("\n")).toHaveLength(2);
  });
});

describe("what nobody meant to throw", () => {
  const bug = (argv: string[], env: Record<string, string> = {}): ReturnType<typeof runCli> => {
    vi.spyOn(check, "run").mockRejectedValue(new TypeError("x is not a function"));
    return runCli(argv, { env }).finally(() => vi.restoreAllMocks());
  };
  test("is exit code 1, BUG, and no stack", async () => {
    const { exitCode, stderr } = await bug(["check", "x"]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^error BUG: x is not a function\nfix: this is a bug in tunesmith; .*\n$/);
  });
  test.each([
    [["check", "x", "--debug-gpu"], {}],
    [["check", "x"], { TUNESMITH_STACK: "1" }],
  ])("shows its stack when asked: %j %j", async (argv, env) => {
    expect((await bug(argv, env)).stderr).toContain("\n    at ");
  });
});

describe("signals", () => {
  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ])("%s leaves a command that has nothing to finish at once, with %i", async (name, exitCode) => {
    const controller = new AbortController();
    vi.spyOn(check, "run").mockImplementation(() => new Promise(() => {}));
    const running = runCli(["check", "x", "--json"], { signal: controller.signal });
    setTimeout(() => controller.abort(name), 5);
    const result = await running.finally(() => vi.restoreAllMocks());
    expect(result.exitCode).toBe(exitCode);
    expect(result.document().error.code).toBe("INTERRUPTED");
  });
});

test("the operating system's refusals are typed, with the path and what to do", async () => {
  const error = Object.assign(new Error("ENOSPC: no space left on device, write '/x/y'"), {
    code: "ENOSPC",
    syscall: "write",
    path: "/x/y",
  });
  vi.spyOn(check, "run").mockRejectedValue(error);
  const result = await runCli(["check", "x", "--json"]).finally(() => vi.restoreAllMocks());
  expect(result.exitCode).toBe(2);
  expect(result.document().error).toMatchObject({
    code: "SYSTEM_ERROR",
    message: "write: no space left on device (ENOSPC)",
    path: "/x/y",
  });
});

test("two command lines may run in one process", async () => {
  const cwd = folderWith({ "a.jsonl": '{"prompt":"a","completion":"b"}\n' });
  const results = await Promise.all([runCli(["check", "a.jsonl"], { cwd }), runCli(["check", "b.jsonl"], { cwd })]);
  expect(results.map((r) => r.exitCode)).toEqual([0, 2]);
});
