// AdamW on moments of eight bits: a workgroup decodes a block of 256 elements, updates it and encodes it again.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { reduceOverLanes, rowLanes } from "./lanes.ts";

/** vec4 of a block of 256 elements: one word of codes each */
const VECTORS = 64;

/**
 * One AdamW step on vec4 `start` … `start + n/4` of a shard, whole blocks of one group. tables [4, 256]: values and borders
 * (255 of them) of the signed codes of m, then of the unsigned ones of v. A code is the number of borders below
 * x · (1 / largest magnitude of the block). Scalars, and the rest, are as in `adamwUpdate`.
 */
export const adamw8bitUpdate: Kernel<
  "n" | "start" | "group" | "beta1" | "rest1" | "beta2" | "rest2" | "eps",
  "clip" | "scalars" | "tables",
  never,
  "values" | "gradients" | "m" | "v" | "scales"
> = defineKernel({
  label: "adamw_8bit",
  params: {
    n: "u32",
    start: "u32",
    group: "u32",
    beta1: "f32",
    rest1: "f32",
    beta2: "f32",
    rest2: "f32",
    eps: "f32",
  },
  reads: { clip: "f32", scalars: "vec4f", tables: "f32" },
  updates: { values: "vec4f", gradients: "vec4f", m: "u32", v: "u32", scales: "vec2f" },
  workgroups: ({ n }) => Math.ceil(n / (4 * VECTORS)),
  wgsl: (_, facts) => {
    const lanes = Math.min(VECTORS, rowLanes(facts));
    return /* wgsl */ `
    ${reduceOverLanes(facts, lanes)}
    fn decoded(codes: u32, table: u32, scale: f32) -> vec4f {
      let code = vec4u(codes, codes >> 8u, codes >> 16u, codes >> 24u) & vec4u(255u);
      return scale * values_at(vec4u(table) + code);
    }
    fn values_at(i: vec4u) -> vec4f { return vec4f(tables[i.x], tables[i.y], tables[i.z], tables[i.w]); }
    fn encoded(x: vec4f, borders: u32) -> u32 {
      var below = vec4u(0u);
      // the number of borders below x, by halving
      for (var half = 128u; half > 0u; half >>= 1u) {
        below += select(vec4u(0u), vec4u(half), values_at(vec4u(borders + half - 1u) + below) < x);
      }
      return below.x | (below.y << 8u) | (below.z << 16u) | (below.w << 24u);
    }
    fn largest(x: vec4f) -> f32 {
      let size = abs(x);
      return max(max(size.x, size.y), max(size.z, size.w));
    }
    @compute @workgroup_size(${lanes})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group * ${4 * VECTORS}u >= p.n || clip[2] != 0.0) { return; }
      let s = scalars[p.group];
      let first = p.start + group * ${VECTORS}u;
      let old = scales[first / ${VECTORS}u];
      var ms: array<vec4f, ${VECTORS / lanes}>;
      var vs: array<vec4f, ${VECTORS / lanes}>;
      var top = vec2f(0.0);
      // what drivers cannot prove they do not unroll, which takes long to compile
      let rounds = min(p.n / ${4 * lanes}u, ${VECTORS / lanes}u);
      for (var k = 0u; k < rounds; k++) {
        let at = first + k * ${lanes}u + lane;
        let g = gradients[at] * clip[1];
        let m1 = p.beta1 * decoded(m[at], 0u, old.x) + p.rest1 * g;
        let v1 = p.beta2 * decoded(v[at], 512u, old.y) + p.rest2 * (g * g);
        values[at] = values[at] * s.x - s.y * (m1 / (sqrt(v1) / s.z + p.eps));
        gradients[at] = vec4f(0.0);
        ms[k] = m1;
        vs[k] = v1;
        top = max(top, vec2f(largest(m1), largest(v1)));
      }
      let scale = vec2f(max_over_lanes(lane, top.x), max_over_lanes(lane, top.y));
      // a block of zeros has the code of 0
      let inverse = 1.0 / max(scale, vec2f(1.2e-38));
      for (var k = 0u; k < rounds; k++) {
        let at = first + k * ${lanes}u + lane;
        m[at] = encoded(ms[k] * inverse.x, 256u);
        v[at] = encoded(vs[k] * inverse.y, 768u);
      }
      if (lane == 0u) { scales[first / ${VECTORS}u] = scale; }
    }`;
  },
  // values and gradients read and written, two codes and a share of two scales per element
  cost: ({ n }) => ({ flops: 50 * n, bytes: (16 + 4 + 1 / 16) * n }),
});
