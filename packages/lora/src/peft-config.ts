// adapter_config.json of PEFT. Written with long-standing keys only, so that old readers stay quiet; read strictly: a
// switched-on feature that would change a number and is not implemented is refused by name.

import { parseStrictJson } from "@tunesmith/core";
import type { JsonObject, JsonValue } from "@tunesmith/core";
import type { LoraConfig } from "./config.ts";
import { LoraError } from "./errors.ts";

/** The file's text: sorted keys, indent 2, as PEFT writes it. */
export function writePeftConfig(config: LoraConfig, targets: readonly string[], baseModel: string | null): string {
  const names = [...new Set(targets.map((path) => path.split(".").at(-1)!))].sort();
  const { targetModules } = config;
  const json: Record<string, unknown> = {
    alpha_pattern: config.alphaPattern ?? {},
    auto_mapping: null,
    base_model_name_or_path: baseModel,
    bias: config.bias ?? "none",
    ...(config.excludeModules === undefined ? {} : { exclude_modules: config.excludeModules }),
    fan_in_fan_out: config.fanInFanOut ?? false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: config.layersPattern ?? null,
    layers_to_transform: config.layersToTransform ?? null,
    lora_alpha: config.alpha,
    lora_dropout: config.dropout ?? 0.0,
    modules_to_save: config.modulesToSave?.length ? config.modulesToSave : null,
    peft_type: "LORA",
    r: config.r,
    rank_pattern: config.rankPattern ?? {},
    revision: null,
    // names as PEFT resolves "all-linear" to; a regular expression stays one
    target_modules:
      typeof targetModules === "string" && targetModules !== "all-linear"
        ? targetModules
        : typeof targetModules === "string"
          ? names
          : [...targetModules].sort(),
    task_type: "CAUSAL_LM",
    ...(config.trainableTokens === undefined ? {} : { trainable_token_indices: config.trainableTokens }),
    use_dora: config.useDora ?? false,
    use_rslora: config.useRslora,
  };
  return `${JSON.stringify(json, null, 2)}\n`;
}

/**
 * Keys whose value must be "off": otherwise the adapter computes something this version does not. fan_in_fan_out is not
 * among them: the kind of a layer decides, and PEFT corrects a file that says otherwise.
 */
const OFF: readonly string[] = [
  "alora_invocation_tokens",
  "arrow_config",
  "ensure_weight_tying",
  "kasa_config",
  "layer_replication",
  "lora_bias",
  "monteclora_config",
  "target_parameters",
  "use_bdlora",
  "use_qalora",
  "velora_config",
];

/** Starts that leave the base alone. PiSSA and others change it when PEFT loads the adapter, unless it was converted on saving. */
const STARTS: readonly string[] = ["gaussian", "eva", "orthogonal"];

/** @throws LoraError `ADAPTER_CONFIG_INVALID`, `ADAPTER_UNSUPPORTED` */
export function readPeftConfig(text: string, path: string): { config: LoraConfig; baseModel: string | undefined } {
  const json = parseStrictJson(text, { path });
  if (!(json instanceof Map)) throw invalid(path, "the file", "a JSON object", "something else");
  const type = json.get("peft_type");
  if (type !== "LORA") throw unsupported(path, "peft_type", type);
  const bias = json.get("bias");
  if (bias !== undefined && bias !== "none" && bias !== "lora_only" && bias !== "all")
    throw unsupported(path, "bias", bias);
  const start = json.get("init_lora_weights");
  if (typeof start === "string" && !STARTS.includes(start)) throw unsupported(path, "init_lora_weights", start);
  for (const key of OFF) if (!isOff(json.get(key))) throw unsupported(path, key, json.get(key));
  const r = number(json, "r", path);
  if (!Number.isInteger(r) || r < 1) throw invalid(path, "r", "an integer ≥ 1", String(r));
  const base = json.get("base_model_name_or_path");
  return {
    config: {
      r,
      alpha: number(json, "lora_alpha", path),
      useRslora: json.get("use_rslora") === true,
      targetModules: targets(json, path),
      ...optional(json, path),
    },
    baseModel: typeof base === "string" ? base : undefined,
  };
}

/** What most adapters leave out. lora_dropout is not among them: it plays no part once training is over. */
function optional(json: JsonObject, path: string): Partial<LoraConfig> {
  const on = (key: string): JsonValue | undefined => {
    const value = json.get(key);
    return isOff(value) ? undefined : value;
  };
  const given = {
    excludeModules: on("exclude_modules") === undefined ? undefined : targets(json, path, "exclude_modules"),
    layersToTransform: listOf(json, path, "layers_to_transform", "number"),
    layersPattern: listOf(json, path, "layers_pattern", "string"),
    rankPattern: pattern(json, path, "rank_pattern"),
    alphaPattern: pattern(json, path, "alpha_pattern"),
    useDora: on("use_dora") === undefined ? undefined : true,
    bias: json.get("bias") === "none" ? undefined : (json.get("bias") as LoraConfig["bias"]),
    modulesToSave: listOf(json, path, "modules_to_save", "string"),
    trainableTokens: tokens(json, path),
    fanInFanOut: on("fan_in_fan_out") === undefined ? undefined : true,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** A list, or one value that stands for a list of it. */
function listOf<T extends "number" | "string">(
  json: JsonObject,
  path: string,
  key: string,
  type: T,
): (T extends "number" ? number[] : string[]) | undefined {
  const value = json.get(key);
  if (isOff(value)) return undefined;
  const list = Array.isArray(value) ? value : [value];
  if (list.every((item) => typeof item === type)) return list as never;
  throw invalid(path, key, `a list of ${type}s`, JSON.stringify(list));
}

/** A list of ids, or lists by module name; whether the base has them is `resolveTokenRows`'s to say. */
function tokens(json: JsonObject, path: string): LoraConfig["trainableTokens"] {
  const value = json.get("trainable_token_indices");
  if (isOff(value)) return undefined;
  const ids = (list: JsonValue): list is number[] => Array.isArray(list) && list.every((id) => typeof id === "number");
  if (ids(value!)) return value;
  if (value instanceof Map && [...value.values()].every(ids))
    return Object.fromEntries(value) as Record<string, number[]>;
  throw invalid(path, "trainable_token_indices", "a list of ids, or lists by module name", JSON.stringify(value));
}

function pattern(json: JsonObject, path: string, key: string): Record<string, number> | undefined {
  const value = json.get(key);
  if (isOff(value)) return undefined;
  const entries = value instanceof Map ? [...value] : [];
  if (entries.length > 0 && entries.every(([, item]) => typeof item === "number" && item > 0))
    return Object.fromEntries(entries) as Record<string, number>;
  throw invalid(path, key, "numbers > 0 by module name", JSON.stringify(value));
}

function isOff(value: JsonValue | undefined): boolean {
  return (
    value === undefined ||
    value === null ||
    value === false ||
    (value instanceof Map && value.size === 0) ||
    (Array.isArray(value) && value.length === 0)
  );
}

function number(json: JsonObject, key: string, path: string): number {
  const value = json.get(key);
  if (typeof value !== "number" || value <= 0) throw invalid(path, key, "a number > 0", JSON.stringify(value));
  return value;
}

function targets(json: JsonObject, path: string, key = "target_modules"): string | string[] {
  const value = json.get(key);
  if (typeof value === "string") return value;
  if (Array.isArray(value) && value.length > 0 && value.every((v) => typeof v === "string")) return value as string[];
  throw invalid(path, key, "a name, a regular expression or a list of names", JSON.stringify(value));
}

function invalid(path: string, key: string, expected: string, received: string): LoraError {
  return new LoraError("ADAPTER_CONFIG_INVALID", `${path}: ${key} is ${received}, expected ${expected}`, {
    path,
    expected,
    received,
    fix: "save the adapter again with PEFT or tunesmith",
  });
}

function unsupported(path: string, key: string, value: JsonValue | undefined): LoraError {
  const shown = value instanceof Map ? "set" : JSON.stringify(value);
  return new LoraError("ADAPTER_UNSUPPORTED", `${path}: ${key} is ${shown}, which this version does not implement`, {
    path,
    received: `${key}: ${shown}`,
    expected: "a plain LoRA or rsLoRA adapter",
    fix: "merge the adapter with PEFT, or train it without this option",
  });
}
