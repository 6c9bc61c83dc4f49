// GELU, forward and backward, in its exact and its tanh form: x/2 · (1 + tanh(z)) is x · sigmoid(2z), which has no
// cancellation.

import { defineKernel } from "../kernel.ts";
import type { Kernel, Spec } from "../kernel.ts";
import { groups, overVectors, SIGMOID } from "./elementwise.ts";

/** 2 · sqrt(2/π) */
const SLOPE = "1.5957691216057308";
const CUBIC = "0.044715";

/** WGSL `gelu(v)` and `gelu_slope(v)`: x · sigmoid(2 sqrt(2/π) (x + 0.044715 x³)) and its derivative. */
export const GELU_TANH: string = `
  ${SIGMOID}
  fn gelu(v: vec4f) -> vec4f { return v * sigmoid(${SLOPE} * v * (1.0 + ${CUBIC} * v * v)); }
  fn gelu_slope(v: vec4f) -> vec4f {
    let s = sigmoid(${SLOPE} * v * (1.0 + ${CUBIC} * v * v));
    let slope = ${SLOPE} * (1.0 + 3.0 * ${CUBIC} * v * v);
    return s + v * s * (1.0 - s) * slope;
  }`;

/**
 * The same for x · Φ(x), the distribution function of the normal distribution from erf as a rational function: the minimax
 * approximation of XLA's float erf, 2e-7 from the true value at most.
 */
const EXACT_FORM = `
  fn phi(v: vec4f) -> vec4f {
    let x = clamp(v * 0.7071067811865476, vec4f(-4.0), vec4f(4.0));
    let z = x * x;
    let top = x * ((((((-2.72614225801306e-10 * z + 2.77068142495902e-08) * z - 2.10102402082508e-06) * z
      - 5.69250639462346e-05) * z - 7.34990630326855e-04) * z - 2.95459980854025e-03) * z - 1.60960333262415e-02);
    let bottom = (((-1.45660718464996e-05 * z - 2.13374055278905e-04) * z - 1.68282697438203e-03) * z
      - 7.37332916720468e-03) * z - 1.42647390514189e-02;
    // from there on it is 1 in float32
    return 0.5 + 0.5 * select(sign(x), top / bottom, abs(x) < vec4f(4.0));
  }
  fn gelu(v: vec4f) -> vec4f { return v * phi(v); }
  // the density of the normal distribution: exp(−x²/2) / sqrt(2π)
  fn gelu_slope(v: vec4f) -> vec4f { return phi(v) + v * 0.3989422804014327 * exp(-0.5 * v * v); }`;

const form = (spec: Spec): string => (spec["exact"] === true ? EXACT_FORM : GELU_TANH);

/** x [n] → out = gelu(x). Spec: exact, else the tanh form. */
export const geluForward: Kernel<"n", "x", "out", never> = defineKernel({
  label: "gelu_forward",
  params: { n: "u32" },
  reads: { x: "vec4f" },
  writes: { out: "vec4f" },
  inPlace: { out: ["x"] },
  workgroups: ({ n }) => groups(n),
  wgsl: (spec) => form(spec) + overVectors("out[i] = gelu(x[i]);"),
  cost: ({ n }) => ({ flops: 8 * n }),
});

/** dy, x [n] → dx = dy · gelu′(x). Spec: exact. */
export const geluBackward: Kernel<"n", "dy" | "x", "dx", never> = defineKernel({
  label: "gelu_backward",
  params: { n: "u32" },
  reads: { dy: "vec4f", x: "vec4f" },
  writes: { dx: "vec4f" },
  inPlace: { dx: ["x", "dy"] },
  workgroups: ({ n }) => groups(n),
  wgsl: (spec) => form(spec) + overVectors("dx[i] = dy[i] * gelu_slope(x[i]);"),
  cost: ({ n }) => ({ flops: 17 * n }),
});
