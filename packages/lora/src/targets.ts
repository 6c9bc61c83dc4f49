import { nearest } from "@tunesmith/core";
import { LoraError } from "./errors.ts";

/** `all-linear`, a list of names (exact or a suffix at a dot), or one regular expression that must match a whole path. */
export type TargetModules = string | readonly string[];

/**
 * The linear layers an adapter sits on, in the model's order, chosen as PEFT chooses them.
 *
 * @param targets - what to match
 * @param paths - the model's linear layers without the output head
 * @param key - what the user wrote the targets under, for errors
 * @throws LoraError `TARGET_UNMATCHED` for a target that matches nothing, with the nearest name
 */
export function resolveTargets(
  targets: TargetModules,
  paths: Iterable<string>,
  key: string = "target_modules",
): string[] {
  const all = [...paths];
  if (targets === "all-linear") return all;
  if (typeof targets === "string") {
    const pattern = regex(targets);
    const found = all.filter((path) => pattern.test(path));
    if (found.length === 0) throw unmatched(targets, all, key);
    return found;
  }
  const matches = (path: string, target: string): boolean => path === target || path.endsWith(`.${target}`);
  for (const target of targets) if (!all.some((path) => matches(path, target))) throw unmatched(target, all, key);
  return all.filter((path) => targets.some((target) => matches(path, target)));
}

function regex(source: string): RegExp {
  try {
    return new RegExp(`^(?:${source})$`, "u");
  } catch (cause) {
    throw new LoraError(
      "TARGET_UNMATCHED",
      `target_modules "${source}" is not a valid regular expression: ${String(cause)}`,
      {
        received: source,
        fix: 'write "all-linear", a list such as [q_proj, v_proj], or a regular expression over whole module paths',
        cause,
      },
    );
  }
}

function unmatched(target: string, paths: readonly string[], key: string): LoraError {
  const names = [...new Set(paths.map((path) => path.split(".").at(-1)!))];
  const near = nearest(target, [...names, ...paths]);
  return new LoraError("TARGET_UNMATCHED", `${key} "${target}" matches no linear layer of the model`, {
    received: target,
    expected: names.join(", "),
    fix: near ? `did you mean ${near}?` : `choose among ${names.join(", ")}, or "all-linear"`,
  });
}
