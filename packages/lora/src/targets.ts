import { nearest } from "@tunesmith/core";
import { type LoraConfig, matchesPattern } from "./config.ts";
import { LoraError } from "./errors.ts";

/** `all-linear`, a list of names (exact or a suffix at a dot), or one regular expression that must match a whole path. */
export type TargetModules = string | readonly string[];

/**
 * The linear layers an adapter sits on, in the model's order, chosen as PEFT chooses them.
 *
 * @param config - what to match
 * @param paths - the model's linear layers without the output head
 * @throws LoraError `TARGET_UNMATCHED` for anything in the config that matches nothing, with the nearest name
 */
export function resolveTargets(
  config: Pick<
    LoraConfig,
    "targetModules" | "excludeModules" | "layersToTransform" | "layersPattern" | "rankPattern" | "alphaPattern"
  >,
  paths: Iterable<string>,
): string[] {
  const all = [...paths];
  let found = matchTargets(config.targetModules, all);
  if (config.excludeModules !== undefined) {
    const excluded = new Set(matchTargets(config.excludeModules, found, "exclude_modules"));
    found = found.filter((path) => !excluded.has(path));
  }
  if (config.layersToTransform) found = inLayers(config, found);
  if (found.length === 0)
    throw new LoraError("TARGET_UNMATCHED", "exclude_modules leaves no linear layer to adapt", {
      fix: "exclude less, or target more",
    });
  for (const [name, pattern] of [
    ["rank_pattern", config.rankPattern],
    ["alpha_pattern", config.alphaPattern],
  ] as const)
    for (const key of Object.keys(pattern ?? {})) {
      regex(name, key);
      if (!found.some((path) => matchesPattern(key, path))) throw unmatched(name, key, found);
    }
  return found;
}

/**
 * The paths that targets match, in their order.
 * @param name - of the option, for errors
 * @throws LoraError `TARGET_UNMATCHED` for a target that matches nothing, with the nearest name
 */
export function matchTargets(targets: TargetModules, all: readonly string[], name = "target_modules"): string[] {
  if (targets === "all-linear") return [...all];
  if (typeof targets === "string") {
    const pattern = regex(name, targets);
    const found = all.filter((path) => pattern.test(path));
    if (found.length === 0) throw unmatched(name, targets, all);
    return found;
  }
  const matches = (path: string, target: string): boolean => path === target || path.endsWith(`.${target}`);
  for (const target of targets) if (!all.some((path) => matches(path, target))) throw unmatched(name, target, all);
  return all.filter((path) => targets.some((target) => matches(path, target)));
}

/** PEFT takes the first number behind a dot-name, or behind one of `layersPattern`, as the layer. */
function inLayers(
  {
    targetModules,
    layersToTransform = [],
    layersPattern,
  }: Pick<LoraConfig, "targetModules" | "layersToTransform" | "layersPattern">,
  paths: readonly string[],
): string[] {
  if (typeof targetModules === "string" && targetModules !== "all-linear")
    throw new LoraError(
      "TARGET_UNMATCHED",
      "layers_to_transform stands beside a regular expression in target_modules",
      {
        received: targetModules,
        expected: "a list of names, or all-linear",
        fix: "put the layer numbers into the regular expression",
      },
    );
  const patterns = layersPattern?.length
    ? layersPattern.map((name) => regex("layers_pattern", `(?:|.*?\\.)${name}\\.(\\d+)\\..*`))
    : [/^.*?\.[^.]*\.(\d+)\..*$/u];
  const layerOf = (path: string): number =>
    Number(patterns.map((pattern) => pattern.exec(path)?.[1]).find((index) => index !== undefined) ?? NaN);
  const present = new Set(paths.map(layerOf));
  for (const layer of layersToTransform)
    if (!present.has(layer))
      throw new LoraError("TARGET_UNMATCHED", `layers_to_transform names layer ${layer}, which has no target module`, {
        received: String(layer),
        expected: [...present].join(", "),
        fix: "layers are counted from 0",
      });
  return paths.filter((path) => layersToTransform.includes(layerOf(path)));
}

function regex(name: string, source: string): RegExp {
  try {
    return new RegExp(`^(?:${source})$`, "u");
  } catch (cause) {
    throw new LoraError("TARGET_UNMATCHED", `${name} "${source}" is not a valid regular expression: ${String(cause)}`, {
      received: source,
      fix: 'write "all-linear", a list such as [q_proj, v_proj], or a regular expression over whole module paths',
      cause,
    });
  }
}

function unmatched(name: string, target: string, paths: readonly string[]): LoraError {
  const names = [...new Set(paths.map((path) => path.split(".").at(-1)!))];
  const near = nearest(target, [...names, ...paths]);
  return new LoraError("TARGET_UNMATCHED", `${name} "${target}" matches no linear layer of the model`, {
    received: target,
    expected: names.join(", "),
    fix: near ? `did you mean ${near}?` : `choose among ${names.join(", ")}, or "all-linear"`,
  });
}
