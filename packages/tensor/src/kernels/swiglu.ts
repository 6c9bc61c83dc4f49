// SwiGLU, forward and backward, elementwise and fused: the sigmoid is computed again in backward, nothing is saved.

import { defineKernel } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { groups, overVectors, SIGMOID } from "./elementwise.ts";

/** gate, up [n] → out = gate · sigmoid(gate) · up. */
export const swigluForward: Kernel<"n", "gate" | "up", "out", never> = defineKernel({
  label: "swiglu_forward",
  params: { n: "u32" },
  reads: { gate: "vec4f", up: "vec4f" },
  writes: { out: "vec4f" },
  inPlace: { out: ["gate"] },
  workgroups: ({ n }) => groups(n),
  wgsl: () =>
    SIGMOID +
    overVectors(/* wgsl */ `
      let g = gate[i];
      out[i] = g * sigmoid(g) * up[i];`),
  cost: ({ n }) => ({ flops: 5 * n }), // the sigmoid takes three
});

/** dy, gate, up [n] → dgate = dy · up · s(1 + gate(1 − s)), dup = dy · gate · s, with s = sigmoid(gate). */
export const swigluBackward: Kernel<"n", "dy" | "gate" | "up", "dgate" | "dup", never> = defineKernel({
  label: "swiglu_backward",
  params: { n: "u32" },
  reads: { dy: "vec4f", gate: "vec4f", up: "vec4f" },
  writes: { dgate: "vec4f", dup: "vec4f" },
  inPlace: { dgate: ["gate"], dup: ["up"] },
  workgroups: ({ n }) => groups(n),
  wgsl: () =>
    SIGMOID +
    overVectors(/* wgsl */ `
        let g = gate[i];
        let s = sigmoid(g);
        let d = dy[i];
        dgate[i] = d * up[i] * s * (1.0 + g * (1.0 - s));
        dup[i] = d * g * s;`),
  cost: ({ n }) => ({ flops: 11 * n }),
});
