import type { PeftAdapter, TokenRows } from "@tunesmith/lora";
import type { LoadedConfig } from "./load.ts";
import { configError } from "./problem.ts";

/** Keys of `tune` that an adapter brings with it. */
export const KEYS_FROM_ADAPTER = [
  "r",
  "alpha",
  "use_rslora",
  "target_modules",
  "exclude_modules",
  "layers_to_transform",
  "layers_pattern",
  "rank_pattern",
  "alpha_pattern",
  "use_dora",
  "bias",
  "modules_to_save",
  "train_new_tokens",
  "init_lora_weights",
] as const;

/**
 * With `init_from`, what the adapter is comes from it: ranks, scales, targets, DoRA; a config may repeat them, not change them.
 * @param tokens - rows that the config asks for
 * @throws CliError `CONFIG_CONFLICT` at the first written key that differs
 */
export function checkAgainstAdapter(
  { config, source, written }: LoadedConfig,
  { config: adapter, tokenRows = new Map() }: Pick<PeftAdapter, "config" | "tokenRows">,
  tokens: TokenRows,
): void {
  const { tune } = config;
  const pairs: readonly (readonly [key: string, here: unknown, there: unknown])[] = [
    ["r", tune.r, adapter.r],
    ["alpha", tune.alpha, adapter.alpha],
    ["use_rslora", tune.use_rslora, adapter.useRslora],
    ["target_modules", tune.target_modules, adapter.targetModules],
    ["exclude_modules", tune.exclude_modules, adapter.excludeModules],
    ["layers_to_transform", tune.layers_to_transform, adapter.layersToTransform],
    ["layers_pattern", tune.layers_pattern, adapter.layersPattern],
    ["rank_pattern", tune.rank_pattern, adapter.rankPattern],
    ["alpha_pattern", tune.alpha_pattern, adapter.alphaPattern],
    ["use_dora", tune.use_dora, adapter.useDora ?? false],
    ["bias", tune.bias, adapter.bias ?? "none"],
    ["modules_to_save", tune.modules_to_save, adapter.modulesToSave ?? []],
    ["train_new_tokens", Object.fromEntries(tokens), Object.fromEntries(tokenRows)],
  ];
  for (const [key, here, there] of pairs) {
    if (!written(["tune", key]) || shown(here) === shown(there)) continue;
    throw configError(
      {
        code: "CONFIG_CONFLICT",
        key: ["tune", key],
        message: `is ${shown(here)}, and the adapter of tune.init_from has ${shown(there)}`,
        received: shown(here),
        expected: shown(there),
        fix: `remove tune.${key}: with init_from it comes from the adapter`,
      },
      source,
    );
  }
}

/** Lists without their order: PEFT writes target_modules sorted or not, by version. */
function shown(value: unknown): string {
  return JSON.stringify(Array.isArray(value) ? value.toSorted() : value);
}
