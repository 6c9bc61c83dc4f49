import { hash32, normal } from "@tunesmith/core";
import type { Device } from "@tunesmith/tensor";
import { build } from "./build.ts";
import type { LoadOptions } from "./build.ts";
import type { ModelConfig } from "./config.ts";
import type { Model } from "./decoder.ts";

/**
 * A model with freshly drawn weights: N(0, initializer_range) for matrices, 0 for biases, and norms that multiply by 1. Every value is a
 * pure function of (seed, name, index).
 */
export function drawModel(
  device: Device,
  config: ModelConfig,
  options: LoadOptions & { seed: number },
): Promise<Model> {
  return build(device, config, { ...options, encode: options.codec }, (name, shape) => {
    const values =
      shape.length === 1
        ? new Float32Array(shape[0]!).fill(name.endsWith("bias") || config.norm === "rms_offset" ? 0 : 1)
        : drawMatrix(name, shape, config.initializerRange, options.seed);
    const cols = shape[1] ?? 1;
    return {
      format: "f32",
      f32: () => Promise.resolve(values),
      rows: (first, count) => Promise.resolve(values.subarray(first * cols, (first + count) * cols)),
    };
  });
}

function drawMatrix(name: string, shape: readonly number[], std: number, seed: number): Float32Array {
  const size = shape.reduce((n, d) => n * d, 1);
  const site = hash32(name);
  return Float32Array.from({ length: size }, (_, i) => std * normal(seed, site, 0, i));
}
