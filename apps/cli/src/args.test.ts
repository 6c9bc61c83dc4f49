import { describe, expect, test } from "vitest";
import { readCommandLine } from "./args.ts";

function failure(...argv: string[]): { code: string; message: string; fix?: string } {
  try {
    readCommandLine(argv);
  } catch (error) {
    return (error as { toJSON(): { code: string; message: string } }).toJSON();
  }
  throw new Error(`accepted: ${argv.join(" ")}`);
}

describe("a right command line", () => {
  test("gives the command, its words and its options under camel-case names", () => {
    expect(
      readCommandLine(["render", "--chat-template", "t.jinja", "--messages=m.json", "--add-generation-prompt"]),
    ).toMatchObject({
      kind: "run",
      command: "render",
      positionals: [],
      options: { chatTemplate: "t.jinja", messages: "m.json", addGenerationPrompt: true, json: false },
    });
  });
  test("may have its options before the command", () => {
    expect(readCommandLine(["--json", "check", "a", "b"])).toMatchObject({
      command: "check",
      positionals: ["a", "b"],
      options: { json: true },
    });
  });
  test("takes what follows -- as words", () => {
    expect(readCommandLine(["check", "--", "--json"])).toMatchObject({
      positionals: ["--json"],
      options: { json: false },
    });
  });
  test("is help without any word, and help for a command beats everything that is missing", () => {
    expect(readCommandLine([])).toEqual({ kind: "help", command: undefined });
    expect(readCommandLine(["--help"])).toEqual({ kind: "help", command: undefined });
    expect(readCommandLine(["render", "--help"])).toEqual({ kind: "help", command: "render" });
    expect(readCommandLine(["--version"])).toEqual({ kind: "version" });
  });
  test("may give a value that starts with a dash", () => {
    expect(readCommandLine(["render", "--messages", "-", "--chat-template=--odd"])).toMatchObject({
      options: { messages: "-", chatTemplate: "--odd" },
    });
  });
});

describe("a wrong command line names the mistake and the way out", () => {
  test.each([
    [["chekc", "x"], "COMMAND_UNKNOWN", "did you mean `tunesmith check`?"],
    [["frobnicate"], "COMMAND_UNKNOWN", "run `tunesmith --help`"],
    [["chat"], "NOT_SUPPORTED", "run `tunesmith --help`"],
    [["check", "x", "--jsn"], "FLAG_UNKNOWN", "did you mean --json?"],
    [["check", "x", "-j"], "FLAG_UNKNOWN", "--help"],
    [["check", "x", "--batch", "y"], "FLAG_UNKNOWN", "--help"], // a flag, but of another command
    [["render", "--messages"], "FLAG_INVALID", "correct --messages"],
    [["render", "--messages", "--json"], "FLAG_INVALID", "correct --messages"],
    [["render", "--messages", "a", "--messages", "b"], "FLAG_INVALID", "give --messages once"],
    [["check", "x", "--json=yes"], "FLAG_INVALID", "correct --json"],
    [["render", "stray", "--messages", "m"], "FLAG_INVALID", "quotes"],
    [["render"], "FLAG_MISSING", "tunesmith render --help"],
    [["check"], "FLAG_MISSING", "tunesmith check --help"],
    [["--json"], "FLAG_MISSING", "tunesmith --help"],
    [["render", "--messages", "m", "--batch", "b"], "FLAG_CONFLICT", "keep one of --messages, --batch"],
  ])("%j", (argv, code, fix) => {
    const error = failure(...argv);
    expect(error.code).toBe(code);
    expect(error.fix).toContain(fix);
  });
});
