// What the contract of docs/cli.md names and this version does not have. Each is refused by name: a key that is read
// and ignored would be a lie about the run. Whoever builds one of these removes its line here.

import type { Problem } from "./problem.ts";
import type { KeyPath } from "./source.ts";

/** Keys and the values of them that work; any other value the schema allows is refused. */
export const SUPPORTED_VALUES: Readonly<Record<string, readonly unknown[]>> = {
  "tune.init_lora_weights": ["default", "gaussian", "pissa", "olora", "loftq"],
};

/** Keys that are reserved: in the contract by name, not in the schema yet. */
export const RESERVED_KEYS: readonly string[] = ["compute"];

/** Every value in a config (as written) that this version does not have. */
export function notSupported(written: unknown): Problem[] {
  const problems: Problem[] = [];
  const check = (key: KeyPath, supported: readonly unknown[]): void => {
    const value = key.reduce<unknown>(
      (at, part) => (at as Record<string | number, unknown> | null | undefined)?.[part],
      written,
    );
    if (value !== undefined && !supported.includes(value)) problems.push(valueProblem(key, value, supported));
  };
  for (const [key, supported] of Object.entries(SUPPORTED_VALUES)) check(key.split("."), supported);
  return problems;
}

function valueProblem(key: KeyPath, value: unknown, supported: readonly unknown[]): Problem {
  const list = supported.join(" | ");
  return {
    code: "NOT_SUPPORTED",
    key,
    message: `is ${String(value)}, which this version does not have yet`,
    expected: list,
    received: String(value),
    fix: `use ${list}`,
  };
}

/** The refusal of a reserved key, wherever in the config it was written; undefined for any other name. */
export function reservedKey(key: KeyPath): Problem | undefined {
  return RESERVED_KEYS.includes(String(key.at(-1))) ? laterKey(key) : undefined;
}

function laterKey(key: KeyPath): Problem {
  return {
    code: "NOT_SUPPORTED",
    key,
    message: "is for a later version of tunesmith",
    received: String(key.at(-1)),
    fix: "remove the key",
  };
}
