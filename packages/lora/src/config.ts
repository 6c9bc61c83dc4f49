// What an adapter is, in PEFT's terms, and what it comes to for one module.

import type { TargetModules } from "./targets.ts";

/** Keys of `adapter_config.json` that decide numbers; saved and read as PEFT names them. */
export interface LoraConfig {
  readonly r: number;
  readonly alpha: number;
  readonly useRslora: boolean;
  /** as the user wrote it */
  readonly targetModules: TargetModules;
  /** modules left out of `targetModules`: names (exact or a suffix at a dot) or one regular expression */
  readonly excludeModules?: TargetModules | undefined;
  /** only these layers, counted from 0; not with a regular expression for `targetModules` */
  readonly layersToTransform?: readonly number[] | undefined;
  /** what the layers' list is called, such as `layers` or `h`; default: whatever has a number behind it */
  readonly layersPattern?: readonly string[] | undefined;
  /** other ranks by module: the first key wins that matches the end of a path from a dot on, as a regular expression */
  readonly rankPattern?: Readonly<Record<string, number>> | undefined;
  readonly alphaPattern?: Readonly<Record<string, number>> | undefined;
  /** of the input of A, while training */
  readonly dropout?: number | undefined;
  /** weight-decomposed: a magnitude per output beside the low-rank direction */
  readonly useDora?: boolean | undefined;
  /** biases of the targets train too, or all biases of the model; default none */
  readonly bias?: "lora_only" | "all" | undefined;
  /** the output head or the embedding, trained whole: paths, or what they end with from a dot on */
  readonly modulesToSave?: readonly string[] | undefined;
  /** rows of the embedding that train, or rows by the name of embedding or output head: PEFT's `trainable_token_indices` */
  readonly trainableTokens?: readonly number[] | Readonly<Record<string, readonly number[]>> | undefined;
  /** the layers' weights are stored `[in, out]`; A and B have the same shapes all the same */
  readonly fanInFanOut?: boolean | undefined;
}

/** Rank and scale of one module: s = alpha / r, or alpha / √r for rank-stabilised LoRA. */
export function moduleRank(config: LoraConfig, path: string): { readonly r: number; readonly scale: number } {
  const r = patternValue(config.rankPattern, path) ?? config.r;
  const alpha = patternValue(config.alphaPattern, path) ?? config.alpha;
  return { r, scale: alpha / (config.useRslora ? Math.sqrt(r) : r) };
}

function patternValue(pattern: Readonly<Record<string, number>> = {}, path: string): number | undefined {
  const key = Object.keys(pattern).find((candidate) => matchesPattern(candidate, path));
  return key === undefined ? undefined : pattern[key];
}

/** PEFT's rule for keys of patterns: `(.*\.)?(KEY)$`. */
export function matchesPattern(key: string, path: string): boolean {
  return new RegExp(`^(.*\\.)?(${key})$`, "u").test(path);
}
