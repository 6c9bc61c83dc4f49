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
 * @param options.idleExclusions - exclusions may match nothing, as in a saved adapter whose targets name what was left
 * @throws LoraError `TARGET_UNMATCHED` for anything in the config that matches nothing, with the nearest name
 */
export function resolveTargets(
  config: Pick<
    LoraConfig,
    "targetModules" | "excludeModules" | "layersToTransform" | "layersPattern" | "rankPattern" | "alphaPattern"
  >,
  paths: Iterable<string>,
  { idleExclusions = false }: { readonly idleExclusions?: boolean } = {},
): string[] {
  const all = [...paths];
  let found = matchTargets(config.targetModules, all);
  if (config.excludeModules !== undefined) {
    const excludes = matcher(config.excludeModules, "exclude_modules");
    if (!idleExclusions) matchTargets(config.excludeModules, all, "exclude_modules");
    found = found.filter((path) => !excludes(path));
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
  const matches = matcher(targets, name);
  const found = all.filter(matches);
  if (typeof targets !== "string") {
    for (const target of targets) if (!all.some(matcher([target], name))) throw unmatched(name, target, all);
  } else if (found.length === 0 && targets !== "all-linear") throw unmatched(name, targets, all);
  return found;
}

/** Whether a path is meant. */
function matcher(targets: TargetModules, name: string): (path: string) => boolean {
  if (targets === "all-linear") return () => true;
  if (typeof targets !== "string")
    return (path) => targets.some((target) => path === target || path.endsWith(`.${target}`));
  const pattern = regex(name, targets);
  return (path) => pattern.test(path);
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
