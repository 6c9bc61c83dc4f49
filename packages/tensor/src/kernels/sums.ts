// Sums over flat f32 arrays in two passes and a fixed order: partial sums of equal blocks, then their total.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { reduceOverLanes, rowLanes } from "./lanes.ts";

/** Elements that one workgroup sums; the same on every device. */
export const SUM_BLOCK = 16384;

/** Partial sums that `dotPartials` writes for `n` elements. */
export function partialCount(n: number): number {
  return Math.ceil(n / SUM_BLOCK);
}

/** a, b [n] → partials[first + block] = Σ a·b over each block of elements. */
export const dotPartials: Kernel<"n" | "first", "a" | "b", "partials", never> = defineKernel({
  label: "dot_partials",
  params: { n: "u32", first: "u32" },
  reads: { a: "vec4f", b: "vec4f" },
  writes: { partials: "f32" },
  workgroups: ({ n }) => partialCount(n),
  wgsl: (_, facts) => /* wgsl */ `
    ${reduceOverLanes(facts)}
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group * ${SUM_BLOCK}u >= p.n) { return; }
      let end = min((group + 1u) * ${SUM_BLOCK / 4}u, (p.n + 3u) / 4u);
      var sum = vec4f(0.0);
      for (var i = group * ${SUM_BLOCK / 4}u + lane; i < end; i += ${rowLanes(facts)}u) {
        // the last vec4 may run into padding, whatever that holds
        let inside = 4u * i + vec4u(0u, 1u, 2u, 3u) < vec4u(p.n);
        sum += select(vec4f(0.0), a[i] * b[i], inside);
      }
      let total = sum_over_lanes(lane, (sum.x + sum.y) + (sum.z + sum.w));
      if (lane == 0u) { partials[p.first + group] = total; }
    }`,
});

/** WGSL: `fn sum_of_partials(lane, count) -> f32` over the binding `partials`, for one workgroup of `rowLanes`. */
export const SUM_OF_PARTIALS = (lanes: number): string => /* wgsl */ `
  fn sum_of_partials(lane: u32, count: u32) -> f32 {
    var sum = 0.0;
    for (var i = lane; i < count; i += ${lanes}u) { sum += partials[i]; }
    return sum_over_lanes(lane, sum);
  }`;

/** partials [n] → out [1] = scale · Σ partials. */
export const sumPartials: Kernel<"n" | "scale", "partials", "out", never> = defineKernel({
  label: "sum_partials",
  params: { n: "u32", scale: "f32" },
  reads: { partials: "f32" },
  writes: { out: "f32" },
  workgroups: () => 1,
  wgsl: (_, facts) => /* wgsl */ `
    ${reduceOverLanes(facts)}
    ${SUM_OF_PARTIALS(rowLanes(facts))}
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      let total = sum_of_partials(lane, p.n);
      if (lane == 0u) { out[0] = p.scale * total; }
    }`,
});
