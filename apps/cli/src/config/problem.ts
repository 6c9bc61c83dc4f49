import { CliError } from "../errors.ts";
import type { CliErrorCode } from "../errors.ts";
import { keyText } from "./source.ts";
import type { ConfigSource, KeyPath } from "./source.ts";

/** One thing that is wrong with a config. */
export interface Problem {
  readonly code: Extract<CliErrorCode, `CONFIG_${string}` | "NOT_SUPPORTED">;
  readonly key: KeyPath;
  /** what is wrong with the key; it follows the key's name: "is not a key of `train`" */
  readonly message: string;
  readonly expected?: string;
  readonly received?: string;
  readonly fix: string;
}

/** A problem as an error that says where the key was written: a line of the file or a `--set`. */
export function configError(problem: Problem, source: ConfigSource, more: readonly Problem[] = []): CliError {
  const { code, key, message, expected, received, fix } = problem;
  const set = source.setBy(key);
  const line = set === undefined ? source.lineOf(key) : undefined;
  const where = set === undefined ? `${source.path}${line === undefined ? "" : `:${line}`}` : `--set ${set}`;
  const shown = (of: KeyPath): string => keyText(source.at(of));
  const others = more.length === 0 ? "" : ` (also wrong: ${more.map((p) => shown(p.key)).join(", ")})`;
  return new CliError(code, `${where}: ${key.length === 0 ? "the config" : `\`${shown(key)}\``} ${message}${others}`, {
    path: source.path,
    fix,
    ...(line === undefined ? {} : { line }),
    ...(expected === undefined ? {} : { expected }),
    ...(received === undefined ? {} : { received }),
  });
}
