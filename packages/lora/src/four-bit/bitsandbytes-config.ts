// config.json's quantization_config, as transformers writes it for bitsandbytes. Whatever other way to quantize it names is
// refused by that name.

import type { JsonObject, JsonValue } from "@tunesmith/core";
import { LoraError } from "../errors.ts";
import type { FourBitOptions } from "./quantize.ts";

const METHODS: Readonly<Record<string, string>> = {
  gptq: "GPTQ",
  awq: "AWQ",
  aqlm: "AQLM",
  hqq: "HQQ",
  eetq: "EETQ",
  quanto: "Quanto",
  torchao: "torchao",
  fp8: "FP8",
  mxfp4: "MXFP4",
  "compressed-tensors": "compressed-tensors",
  fbgemm_fp8: "FBGEMM FP8",
};

/**
 * Checks that the weights are stored by bitsandbytes in four bits.
 * @param path - of config.json, named in errors
 * @throws LoraError `QUANT_UNSUPPORTED`, `QUANT_INVALID`
 */
export function checkBitsandbytesConfig(json: JsonObject, path: string): void {
  const method = json.get("quant_method");
  if (method === undefined && json.has("group_size") && json.has("bits"))
    unsupported(path, "MLX (group_size and bits without a quant_method)");
  if (typeof method === "string" && method !== "bitsandbytes") unsupported(path, METHODS[method] ?? method);
  if (method !== undefined && typeof method !== "string") invalid(path, "quant_method", method, '"bitsandbytes"');
  if (flag(json, "load_in_8bit", path)) unsupported(path, "bitsandbytes in eight bits (LLM.int8)");
  if (!flag(json, "load_in_4bit", path)) invalid(path, "load_in_4bit", json.get("load_in_4bit"), "true");
}

/** The object for config.json. `skipModules`: what stays as it is besides the output head. */
export function bitsandbytesConfig(
  { type, doubleQuant }: Pick<FourBitOptions, "type" | "doubleQuant">,
  options: { computeDtype: "float32" | "float16" | "bfloat16"; skipModules: readonly string[] | null },
): Record<string, unknown> {
  return {
    _load_in_4bit: true,
    _load_in_8bit: false,
    bnb_4bit_compute_dtype: options.computeDtype,
    bnb_4bit_quant_storage: "uint8",
    bnb_4bit_quant_type: type,
    bnb_4bit_use_double_quant: doubleQuant,
    llm_int8_enable_fp32_cpu_offload: false,
    llm_int8_has_fp16_weight: false,
    llm_int8_skip_modules: options.skipModules,
    llm_int8_threshold: 6.0,
    load_in_4bit: true,
    load_in_8bit: false,
    quant_method: "bitsandbytes",
  };
}

/**
 * The text of a config.json with a quantization_config, in place of none. All else stays as it is written: transformers tells
 * 6.0 from 6.
 */
export function withQuantizationConfig(text: string, quantization: Record<string, unknown>): string {
  const inner = JSON.stringify(quantization, null, 2)
    .replace(/("llm_int8_threshold": \d+)(?=[,\n])/, "$1.0")
    .replaceAll("\n", "\n  ");
  return text.replace(/,?\s*\}\s*$/, `,\n  "quantization_config": ${inner}\n}\n`);
}

function flag(json: JsonObject, key: string, path: string): boolean {
  const value = json.get(key) ?? false;
  return typeof value === "boolean" ? value : invalid(path, key, value, "true or false");
}

function unsupported(path: string, method: string): never {
  throw new LoraError("QUANT_UNSUPPORTED", `${path}: the weights are quantized by ${method}, which is not read`, {
    path,
    received: method,
    expected: "bitsandbytes in four bits (nf4 or fp4)",
    fix: "use the original 16-bit checkpoint, and tune.method: qlora to quantize it while it loads",
  });
}

function invalid(path: string, key: string, value: JsonValue | undefined, expected: string): never {
  const received = value instanceof Map ? "an object" : (JSON.stringify(value) ?? "missing");
  throw new LoraError("QUANT_INVALID", `${path}: quantization_config.${key} is ${received}, expected ${expected}`, {
    path,
    received,
    expected,
    fix: "get config.json again from its source",
  });
}
