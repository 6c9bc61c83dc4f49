// Gated linear units, forward and backward: one projection through an activation times the other, both side by side in
// one tensor. The activation is computed again in backward, nothing is saved.

import { defineKernel } from "../kernel.ts";
import type { Element, Kernel, Spec } from "../kernel.ts";
import { groups, overVectors, SIGMOID } from "./elementwise.ts";
import { GELU_TANH } from "./gelu.ts";

/** What the gate goes through. */
export type GateActivation = "silu" | "gelu_tanh";

/** WGSL: `act(v)` and `act_slope(v)`, its derivative. */
const ACTIVATIONS: Readonly<Record<GateActivation, string>> = {
  silu: `${SIGMOID}
    fn act(v: vec4f) -> vec4f { return v * sigmoid(v); }
    fn act_slope(v: vec4f) -> vec4f { let s = sigmoid(v); return s * (1.0 + v * (1.0 - s)); }`,
  gelu_tanh: `${GELU_TANH}
    fn act(v: vec4f) -> vec4f { return gelu(v); }
    fn act_slope(v: vec4f) -> vec4f { return gelu_slope(v); }`,
};

/** forward and backward, per element; the exponential counts as one */
const FLOPS: Readonly<Record<GateActivation, readonly [number, number]>> = { silu: [5, 12], gelu_tanh: [9, 19] };

const inFours = (spec: Spec): boolean => spec["vectors"] === true;
const element = (spec: Spec): Element => (inFours(spec) ? "vec4f" : "f32");
const activation = (spec: Spec): GateActivation => spec["activation"] as GateActivation;

/** `main` over the elements of the half rows: `at_gate` and `at_up` index the pair of element `i` of the result. */
function overPairs(spec: Spec, body: string): string {
  return `
    ${ACTIVATIONS[activation(spec)]}
    ${overVectors(
      `
      let at_gate = row * p.width + i;
      let at_up = at_gate + p.width;
      ${body}`,
      "p.width",
    )}`;
}
/** four lanes' worth where the binding holds vectors, else one number in all components */
const load = (spec: Spec, from: string): string => (inFours(spec) ? from : `vec4f(${from})`);
const stored = (spec: Spec, value: string): string => (inFours(spec) ? value : `(${value}).x`);

/**
 * gate_up [rows, 2 · width] → out [rows, width] = act(gate) · up. Spec: activation; vectors, true where four divides
 * the width, which then counts vectors; n is four times the number of elements of out, vectors or not.
 */
export const gatedForward: Kernel<"n" | "width", "gate_up", "out", never> = defineKernel({
  label: "gated_forward",
  params: { n: "u32", width: "u32" },
  reads: { gate_up: element },
  writes: { out: element },
  workgroups: ({ n }) => groups(n),
  wgsl: (spec) =>
    overPairs(
      spec,
      `out[i] = ${stored(spec, `act(${load(spec, "gate_up[at_gate]")}) * ${load(spec, "gate_up[at_up]")}`)};`,
    ),
  cost: ({ n }, spec) => ({ flops: (inFours(spec) ? 1 : 0.25) * FLOPS[activation(spec)][0] * n }),
});

/** dy [rows, width], gate_up → its gradient: dgate = dy · up · act′(gate), dup = dy · act(gate). */
export const gatedBackward: Kernel<"n" | "width", "dy" | "gate_up", "dgate_up", never> = defineKernel({
  label: "gated_backward",
  params: { n: "u32", width: "u32" },
  reads: { dy: element, gate_up: element },
  writes: { dgate_up: element },
  inPlace: { dgate_up: ["gate_up"] },
  workgroups: ({ n }) => groups(n),
  wgsl: (spec) =>
    overPairs(
      spec,
      `
      let gate = ${load(spec, "gate_up[at_gate]")};
      let up = ${load(spec, "gate_up[at_up]")};
      let d = ${load(spec, "dy[i]")};
      dgate_up[at_gate] = ${stored(spec, "d * up * act_slope(gate)")};
      dgate_up[at_up] = ${stored(spec, "d * act(gate)")};`,
    ),
  cost: ({ n }, spec) => ({ flops: (inFours(spec) ? 1 : 0.25) * FLOPS[activation(spec)][1] * n }),
});
