// Rotary position embedding in the half-split layout of Hugging Face's Llama (rotate_half). Angles come as tables of
// cosines and sines made on the host in float64: sin and cos of large angles are loose on GPUs.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel, Spec } from "../kernel.ts";

const LANES = 64;

const element = (spec: Spec): "f32" | "vec4f" => (spec["vectors"] === true ? "vec4f" : "f32");

/**
 * x [tokens, heads, headDim], positions [tokens], cos, sin [table_rows, half] → y like x:
 * (y₁, y₂) = (c·x₁ − d·s·x₂, c·x₂ + d·s·x₁) for the halves of the first 2·half numbers of each head; the others pass. `direction` d is 1, or −1 for the transpose,
 * which is the backward. Positions outside the table are clamped to it. Spec: vectors, true where four divides half
 * and headDim; `width` and `stride` are half and headDim counted in elements of the binding.
 */
export const ropeKernel: Kernel<
  "tokens" | "heads" | "width" | "stride" | "table_rows" | "direction",
  "x" | "positions" | "cosines" | "sines",
  "y",
  never
> = defineKernel({
  label: "rope",
  params: { tokens: "u32", heads: "u32", width: "u32", stride: "u32", table_rows: "u32", direction: "f32" },
  reads: { x: element, positions: "i32", cosines: element, sines: element },
  writes: { y: element },
  inPlace: { y: ["x"] },
  workgroups: ({ tokens, width, stride }) => Math.ceil((tokens * (stride - width)) / LANES),
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let index = group * ${LANES}u + lane;
      // a lane turns a pair, or passes one element of what is not turned
      let lanes = p.stride - p.width;
      let token = index / lanes;
      if (token >= p.tokens) { return; }
      let i = index - token * lanes;
      if (i >= p.width) {
        for (var head = 0u; head < p.heads; head++) {
          let at = (token * p.heads + head) * p.stride + p.width + i;
          y[at] = x[at];
        }
        return;
      }
      let position = u32(clamp(positions[token], 0, i32(p.table_rows) - 1));
      let c = cosines[position * p.width + i];
      let s = sines[position * p.width + i] * p.direction;
      // one angle serves all heads
      for (var head = 0u; head < p.heads; head++) {
        let first = (token * p.heads + head) * p.stride + i;
        let a = x[first];
        let b = x[first + p.width];
        y[first] = a * c - b * s;
        y[first + p.width] = b * c + a * s;
      }
    }`,
  cost: ({ tokens, heads, width }, spec, { bytes }) => {
    const half = spec["vectors"] === true ? 4 * width : width;
    // of the tables one row per token
    const tables = Math.min(bytes("cosines") + bytes("sines"), 8 * tokens * half);
    return { flops: 6 * tokens * heads * half, bytes: bytes("x") + bytes("positions") + tables + bytes("y") };
  },
});
