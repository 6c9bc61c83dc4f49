import { COMMANDS } from "./commands.ts";
import type { Command, CommandName } from "./commands.ts";
import { COMMON_FLAGS, flagSpec } from "./flags.ts";
import type { FlagName } from "./flags.ts";

const CONTRACT = `Exit codes: 0 fine; 1 our bug; 2 bad input or config; 3 numeric stop; 4 no device, device lost, out of memory;
130/143 signal. Everything a person reads but did not ask for goes to stderr.`;

/** The text of `tunesmith --help`. */
export function generalHelp(version: string): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length));
  const commands = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return `tunesmith ${version}: supervised fine-tuning of language models on any GPU that speaks WebGPU

Usage: tunesmith COMMAND ...        tunesmith COMMAND --help for its options

Commands:
${commands.join("\n")}

Options of every command:
${flagLines([...COMMON_FLAGS])}

${CONTRACT}`;
}

/** The text of `tunesmith COMMAND --help`. */
export function commandHelp(name: CommandName): string {
  const { summary, usage, flags }: Command = COMMANDS[name];
  const forms = usage.map((form) => `  tunesmith ${name} ${form}`.trimEnd());
  const own = flags.length === 0 ? "" : `\nOptions:\n${flagLines(flags)}\n`;
  return `${summary}

Usage:
${forms.join("\n")}
${own}
Options of every command:
${flagLines([...COMMON_FLAGS])}`;
}

function flagLines(names: readonly FlagName[]): string {
  const heads = names.map((name) => `--${name} ${flagSpec(name).value ?? ""}`.trimEnd());
  const width = Math.max(...heads.map((head) => head.length));
  return names.map((name, i) => `  ${heads[i]!.padEnd(width)}  ${flagSpec(name).help}`).join("\n");
}
