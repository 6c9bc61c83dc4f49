// One invocation from words to exit code. Everything it touches is an argument, so that tests run it in process.

import { readCommandLine } from "./args.ts";
import { COMMANDS } from "./commands.ts";
import type { Command } from "./commands.ts";
import type { Context } from "./context.ts";
import { exitCodeOf } from "./exit-codes.ts";
import { errorText, stackOf, typedError } from "./failure.ts";
import { commandHelp, generalHelp } from "./help.ts";
import { untilSignal } from "./until-signal.ts";

/** The process around an invocation. */
export interface Host {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  /** aborted with the signal's name ("SIGINT", "SIGTERM") as its reason */
  readonly signal: AbortSignal;
  stdout(text: string): void;
  stderr(text: string): void;
}

const SIGNAL_EXIT_CODES: Readonly<Record<string, number>> = { SIGINT: 130, SIGTERM: 143 };

/**
 * Runs one command line.
 * @param argv - words after the program's name
 * @returns the exit code of docs/cli.md
 */
export async function cli(argv: readonly string[], host: Host): Promise<number> {
  const json = argv.includes("--json");
  const closing: (() => void)[] = [];
  try {
    const invocation = readCommandLine(argv);
    if (invocation.kind === "help") {
      host.stdout(`${invocation.command ? commandHelp(invocation.command) : generalHelp(host.version)}\n`);
      return 0;
    }
    if (invocation.kind === "version") {
      host.stdout(json ? document({ version: host.version }) : `${host.version}\n`);
      return 0;
    }
    const { command: name, positionals, options } = invocation;
    const context: Context = {
      cwd: host.cwd,
      env: host.env,
      signal: host.signal,
      device: { debug: options.debugGpu, ...(options.device === undefined ? {} : { name: options.device }) },
      say: (line) => host.stderr(`${line}\n`),
      onEnd: (close) => void closing.push(close),
    };
    const command: Command = COMMANDS[name];
    const { run } = await command.load();
    const work = run(positionals, options, context);
    const outcome = await (command.finishesOnSignal ? work : untilSignal(work, host.signal));
    if (outcome.document !== undefined && json) host.stdout(document(outcome.document));
    else if (outcome.text !== "") host.stdout(`${outcome.text}\n`);
    return signalExitCode(host.signal) ?? outcome.exitCode ?? 0;
  } catch (thrown) {
    const error = typedError(thrown);
    if (json) host.stdout(document({ error: error.toJSON() }));
    else host.stderr(errorText(error));
    const wantsStack = argv.includes("--debug-gpu") || host.env["TUNESMITH_STACK"] === "1";
    if (error.code === "BUG" && wantsStack) host.stderr(stackOf(thrown));
    return signalExitCode(host.signal) ?? exitCodeOf(error);
  } finally {
    for (const close of closing) close();
  }
}

function document(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

function signalExitCode(signal: AbortSignal): number | undefined {
  return signal.aborted ? (SIGNAL_EXIT_CODES[String(signal.reason)] ?? 130) : undefined;
}
