// Uniform noise from counters, as dropout's masks are.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { ELEMENT_WORDS, foursGroups, LANES, PHILOX } from "./dropout.ts";

/**
 * x [rows, dim], magnitudes [rows], seed [2], step [1], examples and positions [rows] → out = x + magnitude · u with u in
 * [−1, 1): u = ⌊word / 2⁸⌋ / 2²³ − 1, of the same counters as `dropoutMask`.
 */
export const uniformNoise: Kernel<
  "rows" | "dim" | "site" | "keyed",
  "x" | "magnitudes" | "seed" | "step" | "examples" | "positions",
  "out",
  never
> = defineKernel({
  label: "uniform_noise",
  params: { rows: "u32", dim: "u32", site: "u32", keyed: "u32" },
  reads: { x: "f32", magnitudes: "f32", seed: "u32", step: "u32", examples: "u32", positions: "u32" },
  writes: { out: "f32" },
  inPlace: { out: ["x"] },
  workgroups: ({ rows, dim }) => foursGroups(rows, dim),
  wgsl: () => /* wgsl */ `
    ${PHILOX}
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      ${ELEMENT_WORDS}
      let noise = vec4f(words >> vec4u(8u)) / 8388608.0 - 1.0;
      for (var j = 0u; j < count; j++) { out[start + j] = x[start + j] + magnitudes[row] * noise[j]; }
    }`,
});
