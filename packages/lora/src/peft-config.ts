// adapter_config.json of PEFT. Written with long-standing keys only, so that old readers stay quiet; read strictly: a
// switched-on feature that would change a number and is not implemented is refused by name.

import { parseStrictJson } from "@tunesmith/core";
import type { JsonObject, JsonValue } from "@tunesmith/core";
import type { LoraConfig } from "./adapter.ts";
import { LoraError } from "./errors.ts";

/** The file's text: sorted keys, indent 2, as PEFT writes it. */
export function writePeftConfig(config: LoraConfig, targets: readonly string[], baseModel: string | null): string {
  const names = [...new Set(targets.map((path) => path.split(".").at(-1)!))].sort();
  const { targetModules } = config;
  const json: Record<string, unknown> = {
    alpha_pattern: {},
    auto_mapping: null,
    base_model_name_or_path: baseModel,
    bias: "none",
    fan_in_fan_out: config.fanInFanOut ?? false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: config.alpha,
    lora_dropout: 0.0,
    modules_to_save: null,
    peft_type: "LORA",
    r: config.r,
    rank_pattern: {},
    revision: null,
    // names as PEFT resolves "all-linear" to; a regular expression stays one
    target_modules:
      typeof targetModules === "string" && targetModules !== "all-linear"
        ? targetModules
        : typeof targetModules === "string"
          ? names
          : [...targetModules].sort(),
    task_type: "CAUSAL_LM",
    use_dora: false,
    use_rslora: config.useRslora,
  };
  return `${JSON.stringify(json, null, 2)}\n`;
}

/**
 * Keys whose value must be "off": otherwise the adapter computes something this version does not. fan_in_fan_out is not
 * among them: the kind of a layer decides, and PEFT corrects a file that says otherwise.
 */
const OFF: readonly string[] = [
  "alpha_pattern",
  "rank_pattern",
  "alora_invocation_tokens",
  "arrow_config",
  "exclude_modules",
  "kasa_config",
  "layer_replication",
  "layers_pattern",
  "layers_to_transform",
  "lora_bias",
  "modules_to_save",
  "monteclora_config",
  "target_parameters",
  "trainable_token_indices",
  "use_bdlora",
  "use_dora",
  "use_qalora",
  "velora_config",
];

/** @throws LoraError `ADAPTER_CONFIG_INVALID`, `ADAPTER_UNSUPPORTED` */
export function readPeftConfig(text: string, path: string): { config: LoraConfig; baseModel: string | undefined } {
  const json = parseStrictJson(text, { path });
  if (!(json instanceof Map)) throw invalid(path, "the file", "a JSON object", "something else");
  const type = json.get("peft_type");
  if (type !== "LORA") throw unsupported(path, "peft_type", type);
  const bias = json.get("bias");
  if (bias !== undefined && bias !== "none") throw unsupported(path, "bias", bias);
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
      ...(json.get("fan_in_fan_out") === true ? { fanInFanOut: true } : {}),
    },
    baseModel: typeof base === "string" ? base : undefined,
  };
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

function targets(json: JsonObject, path: string): string | string[] {
  const value = json.get("target_modules");
  if (typeof value === "string") return value;
  if (Array.isArray(value) && value.length > 0 && value.every((v) => typeof v === "string")) return value as string[];
  throw invalid(path, "target_modules", "a name, a regular expression or a list of names", JSON.stringify(value));
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
