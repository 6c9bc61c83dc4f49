// Dropout from counters: the mask is a pure function of (seed, step, site, example, position, feature), so that
// backward and recomputation draw it again and nothing is saved.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Element, Kernel, ParamType } from "../kernel.ts";

export const LANES = 64;

/**
 * WGSL: `fn philox4x32(counter: vec4u, key: vec2u) -> vec4u`, Philox 4x32-10 (Salmon et al. 2011), the same words as
 * `philox4x32` of @tunesmith/core.
 */
export const PHILOX: string = /* wgsl */ `
  fn mul_high(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let mid1 = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let mid2 = (a & 0xffffu) * (b >> 16u) + (mid1 & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (mid1 >> 16u) + (mid2 >> 16u);
  }
  fn philox4x32(counter: vec4u, key: vec2u) -> vec4u {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
      let high0 = mul_high(0xd2511f53u, c.x);
      let high1 = mul_high(0xcd9e8d57u, c.z);
      c = vec4u(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
      k += vec2u(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
  }`;

type Params = "rows" | "dim" | "site" | "threshold" | "scale" | "keyed";
const PARAMS: Readonly<Record<Params, ParamType>> = {
  rows: "u32",
  dim: "u32",
  site: "u32",
  threshold: "u32",
  scale: "f32",
  keyed: "u32",
};
type Reads = "x" | "seed" | "step" | "examples" | "positions";
const READS: Readonly<Record<Reads, Element>> = {
  x: "f32",
  seed: "u32",
  step: "u32",
  examples: "u32",
  positions: "u32",
};

/** Workgroups of a kernel whose lanes take four features of a row each. */
export function foursGroups(rows: number, dim: number): number {
  return Math.ceil((rows * Math.ceil(dim / 4)) / LANES);
}

/**
 * WGSL: `example`, `position` and the `words` of this lane's counter (position · ⌈dim/4⌉ + ⌊f/4⌋, example, site, step), which
 * belong to the `count` elements from `start` on.
 */
export const ELEMENT_WORDS: string = /* wgsl */ `
      let fours = (p.dim + 3u) / 4u;
      let i = group * ${LANES}u + lane;
      let row = i / fours;
      if (row >= p.rows) { return; }
      var example = 0u;
      var position = row;
      if (p.keyed != 0u) { example = examples[row]; position = positions[row]; }
      let four = i % fours;
      let words = philox4x32(vec4u(position * fours + four, example, p.site, step[0]), vec2u(seed[0], seed[1]));
      let start = row * p.dim + 4u * four;
      let count = min(4u, p.dim - 4u * four);`;

const source = (assign: "=" | "+="): string => /* wgsl */ `
    ${PHILOX}
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      ${ELEMENT_WORDS}
      let keep = select(vec4f(0.0), vec4f(p.scale), words >= vec4u(p.threshold));
      for (var j = 0u; j < count; j++) {
        // not x · 0: a dropped element is 0 whatever it was
        out[start + j] ${assign} select(0.0, x[start + j] * keep[j], keep[j] != 0.0);
      }
    }`;

/**
 * x [rows, dim], seed [2] (low word first), step [1], examples and positions [rows] → out = x · scale where the word of
 * an element is at least `threshold`, else 0. Feature f of a row has word f mod 4 of the counter
 * (position · ⌈dim/4⌉ + ⌊f/4⌋, example, site, step). keyed 0: example 0 and position = row, whatever is bound.
 */
export const dropoutMask: Kernel<Params, Reads, "out", never> = defineKernel({
  label: "dropout",
  params: PARAMS,
  reads: READS,
  writes: { out: "f32" },
  inPlace: { out: ["x"] },
  workgroups: ({ rows, dim }) => foursGroups(rows, dim),
  wgsl: () => source("="),
});

/** out += what `dropoutMask` gives. */
export const addDropoutMask: Kernel<Params, Reads, never, "out"> = defineKernel({
  label: "add_dropout",
  params: PARAMS,
  reads: READS,
  updates: { out: "f32" },
  workgroups: ({ rows, dim }) => foursGroups(rows, dim),
  wgsl: () => source("+="),
});
