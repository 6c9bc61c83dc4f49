// GELU in its tanh form, forward and backward: x/2 · (1 + tanh(z)) is x · sigmoid(2z), which has no cancellation.

import { defineKernel } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { groups, overVectors, SIGMOID } from "./elementwise.ts";

/** 2 · sqrt(2/π) */
const SLOPE = "1.5957691216057308";
const CUBIC = "0.044715";

/** x [n] → out = x · sigmoid(2 sqrt(2/π) (x + 0.044715 x³)). */
export const geluForward: Kernel<"n", "x", "out", never> = defineKernel({
  label: "gelu_forward",
  params: { n: "u32" },
  reads: { x: "vec4f" },
  writes: { out: "vec4f" },
  workgroups: ({ n }) => groups(n),
  wgsl: () =>
    SIGMOID +
    overVectors(/* wgsl */ `
      let v = x[i];
      out[i] = v * sigmoid(${SLOPE} * v * (1.0 + ${CUBIC} * v * v));`),
});

/** dy, x [n] → dx = dy · (s + x s (1 − s) · 2 sqrt(2/π) (1 + 3 · 0.044715 x²)), s the sigmoid of the forward. */
export const geluBackward: Kernel<"n", "dy" | "x", "dx", never> = defineKernel({
  label: "gelu_backward",
  params: { n: "u32" },
  reads: { dy: "vec4f", x: "vec4f" },
  writes: { dx: "vec4f" },
  workgroups: ({ n }) => groups(n),
  wgsl: () =>
    SIGMOID +
    overVectors(/* wgsl */ `
      let v = x[i];
      let s = sigmoid(${SLOPE} * v * (1.0 + ${CUBIC} * v * v));
      let slope = ${SLOPE} * (1.0 + 3.0 * ${CUBIC} * v * v);
      dx[i] = dy[i] * (s + v * s * (1.0 - s) * slope);`),
});
