import type { RopeConfig } from "./config.ts";

/**
 * Inverse frequencies of the rotary embedding in float64, `[headDim / 2]`.
 * @see Su et al. 2021, https://arxiv.org/abs/2104.09864; the llama3 bands: Llama 3.1 release, as in transformers'
 *   `_compute_llama3_parameters`
 */
export function inverseFrequencies(rope: RopeConfig, headDim: number): Float64Array {
  const base = Float64Array.from({ length: headDim / 2 }, (_, i) => rope.theta ** ((-2 * i) / headDim));
  switch (rope.type) {
    case "default":
      return base;
    case "linear":
      return base.map((f) => f / rope.factor);
    case "llama3":
      return base.map((f) => {
        const wavelength = (2 * Math.PI) / f;
        const { factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositions: original } = rope;
        if (wavelength < original / high) return f;
        if (wavelength > original / low) return f / factor;
        const smooth = (original / wavelength - low) / (high - low);
        return ((1 - smooth) * f) / factor + smooth * f;
      });
    default:
      return rope satisfies never;
  }
}
