// Reads a command line against the tables of commands and flags. node:util splits it into tokens; everything that
// may be wrong with them is said here, with the nearest name that would have been right.

import { parseArgs } from "node:util";
import { nearest } from "@tunesmith/core";
import { COMMANDS, isCommandName, LATER_COMMANDS } from "./commands.ts";
import type { Command, CommandName } from "./commands.ts";
import { CliError } from "./errors.ts";
import { camelCase, COMMON_FLAGS, FLAGS, flagSpec } from "./flags.ts";
import type { FlagName, Options } from "./flags.ts";

/** A command line that is right as far as its words go. */
export type Invocation =
  | { readonly kind: "help"; readonly command: CommandName | undefined }
  | { readonly kind: "version" }
  | {
      readonly kind: "run";
      readonly command: CommandName;
      readonly positionals: readonly string[];
      readonly options: Options;
    };

const PARSE_OPTIONS = Object.fromEntries(
  Object.entries(FLAGS).map(([name, { type }]) => [name, { type: type === "boolean" ? "boolean" : "string" } as const]),
);

/**
 * @param argv - words after the program's name
 * @throws CliError `COMMAND_UNKNOWN`, `FLAG_UNKNOWN`, `FLAG_INVALID`, `FLAG_MISSING`, `NOT_SUPPORTED`
 */
export function readCommandLine(argv: readonly string[]): Invocation {
  const { tokens } = parseArgs({
    args: [...argv],
    options: PARSE_OPTIONS,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const words = tokens.flatMap((token) => (token.kind === "positional" ? [token.value] : []));
  const flags = new Map<FlagName, string[]>();
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const name = knownFlag(token.name, token.rawName, words[0]);
    const { type } = flagSpec(name);
    if (type === "boolean") {
      if (token.value !== undefined) throw invalid(name, token.value, "no value");
    } else if (token.value === undefined || (token.value.startsWith("--") && token.inlineValue !== true)) {
      throw invalid(name, "nothing", `a value: --${name} ${flagSpec(name).value}`);
    }
    if (flags.has(name) && type !== "strings" && type !== "boolean")
      throw new CliError("FLAG_INVALID", `--${name} is given twice`, { fix: `give --${name} once` });
    flags.set(name, [...(flags.get(name) ?? []), token.value ?? ""]);
  }

  const [first, ...positionals] = words;
  if (first === undefined) {
    if (flags.has("version")) return { kind: "version" };
    if (flags.size === 0 || flags.has("help")) return { kind: "help", command: undefined };
    throw new CliError("FLAG_MISSING", "no command is given", {
      fix: "run `tunesmith --help` for the list of commands",
    });
  }
  if (!isCommandName(first)) throw unknownCommand(first);
  if (flags.has("help")) return { kind: "help", command: first };

  const command: Command = COMMANDS[first];
  const allowed: readonly FlagName[] = [...command.flags, ...COMMON_FLAGS];
  for (const name of flags.keys()) if (!allowed.includes(name)) throw unknownFlag(`--${name}`, first);
  checkPositionals(first, command, positionals);
  for (const group of command.required) {
    if (!group.some((name) => flags.has(name)) && positionals.length === 0)
      throw new CliError(
        "FLAG_MISSING",
        `${first} needs ${group.map((n) => `--${n} ${flagSpec(n).value ?? ""}`.trim()).join(" or ")}`,
        {
          fix: `run \`tunesmith ${first} --help\``,
        },
      );
  }
  for (const group of command.exclusive) {
    const given = group.filter((name) => flags.has(name)).map((name) => `--${name}`);
    if (given.length > 1)
      throw new CliError("FLAG_CONFLICT", `${given.join(" and ")} exclude each other`, {
        received: given.join(" "),
        expected: `one of ${group.map((name) => `--${name}`).join(", ")}`,
        fix: `keep one of ${given.join(", ")}`,
      });
  }
  return { kind: "run", command: first, positionals, options: optionsOf(flags) };
}

function knownFlag(name: string, rawName: string, command: string | undefined): FlagName {
  if (!Object.hasOwn(FLAGS, name) || !rawName.startsWith("--")) throw unknownFlag(rawName, command);
  return name as FlagName;
}

function unknownFlag(rawName: string, word: string | undefined): CliError {
  const command = word !== undefined && isCommandName(word) ? word : undefined;
  const names = command ? [...COMMANDS[command].flags, ...COMMON_FLAGS] : Object.keys(FLAGS);
  const near = nearest(rawName.replace(/^-+/, ""), names);
  return new CliError("FLAG_UNKNOWN", `unknown option ${rawName}${command ? ` for \`tunesmith ${command}\`` : ""}`, {
    received: rawName,
    fix: near === undefined ? `run \`tunesmith ${command ? `${command} ` : ""}--help\`` : `did you mean --${near}?`,
  });
}

function unknownCommand(word: string): CliError {
  if (LATER_COMMANDS.includes(word))
    return new CliError("NOT_SUPPORTED", `this version of tunesmith has no command \`${word}\` yet`, {
      received: word,
      expected: Object.keys(COMMANDS).join(" | "),
      fix: "run `tunesmith --help` for the commands of this version",
    });
  const near = nearest(word, Object.keys(COMMANDS));
  return new CliError("COMMAND_UNKNOWN", `unknown command \`${word}\``, {
    received: word,
    expected: Object.keys(COMMANDS).join(" | "),
    fix: near === undefined ? "run `tunesmith --help`" : `did you mean \`tunesmith ${near}\`?`,
  });
}

function checkPositionals(name: CommandName, command: Command, given: readonly string[]): void {
  const { label, min, max } = command.positionals;
  if (given.length < min)
    throw new CliError("FLAG_MISSING", `${name} needs ${label}`, { fix: `run \`tunesmith ${name} --help\`` });
  if (given.length > max)
    throw new CliError("FLAG_INVALID", `${name} does not take \`${given[max]}\``, {
      received: given.join(" "),
      expected: max === 0 ? "options only" : label,
      fix: "put quotes around values that contain spaces",
    });
}

function optionsOf(flags: ReadonlyMap<FlagName, readonly string[]>): Options {
  const options: Record<string, unknown> = {};
  for (const name of Object.keys(FLAGS) as FlagName[]) {
    const values = flags.get(name);
    const { type } = flagSpec(name);
    const key = camelCase(name);
    if (type === "boolean") options[key] = values !== undefined;
    else if (type === "strings") options[key] = values ?? [];
    else if (values !== undefined) options[key] = type === "string" ? values[0] : numberOf(name, values[0]!);
  }
  return options as Options;
}

function numberOf(name: FlagName, text: string): number {
  const { type, min, max, above } = flagSpec(name);
  const integer = type === "integer";
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
  const inRange = value >= (min ?? -Infinity) && value <= (max ?? Infinity) && value > (above ?? -Infinity);
  if (!Number.isFinite(value) || !inRange || (integer && !Number.isSafeInteger(value))) {
    const range = [
      above === undefined ? "" : `> ${above}`,
      min === undefined ? "" : `≥ ${min}`,
      max === undefined ? "" : `≤ ${max}`,
    ];
    throw invalid(name, text, `${integer ? "an integer" : "a number"} ${range.filter(Boolean).join(" and ")}`.trim());
  }
  return value;
}

function invalid(name: FlagName, received: string, expected: string): CliError {
  return new CliError("FLAG_INVALID", `--${name} takes ${expected}, received ${received}`, {
    received,
    expected,
    fix: `correct --${name}`,
  });
}
