import type { JsonObject } from "@tunesmith/core";
import { ModelError } from "./errors.ts";

/** What config.json says about quantized weights, under transformers' key or MLX's. */
export function quantizationOf(json: JsonObject, path: string): JsonObject | undefined {
  for (const key of ["quantization_config", "quantization"]) {
    const value = json.get(key);
    if (value instanceof Map) return value;
    if (value !== undefined && value !== null)
      throw new ModelError("CONFIG_INVALID", `${path}: ${key} is not an object`, {
        path,
        expected: "an object, or no such key",
        fix: "get config.json again from its source",
      });
  }
  return undefined;
}

/** @throws ModelError `ARCHITECTURE_UNSUPPORTED`: no codec was given that could read these weights */
export function refuseQuantized(path: string): never {
  throw new ModelError("ARCHITECTURE_UNSUPPORTED", `${path}: the weights are quantized, and no codec was given`, {
    path,
    fix: "give loadModel the `fourBitCodec` of @tunesmith/lora, or use the original 16-bit checkpoint",
  });
}
