// Sums over the lanes of one workgroup, in a fixed order. On hardware whose subgroup is known to be as wide as the
// workgroup it is one subgroup operation without a barrier (barriers are what software Vulkan is slow at);
// elsewhere a tree in shared memory, which assumes nothing about subgroups.

import type { DeviceFacts } from "../facts.ts";

/** Lanes that work on one row. */
export function rowLanes(facts: DeviceFacts): number {
  return fixedSubgroup(facts) ? facts.subgroupMinSize : 64;
}

/**
 * Lanes that work on one long row (a row of logits): as many as keep a discrete GPU busy with few rows.
 */
export function longRowLanes(facts: DeviceFacts): number {
  return facts.software ? rowLanes(facts) : 256;
}

/**
 * WGSL: `fn sum_over_lanes(lane: u32, value: f32) -> f32` and `max_over_lanes`.
 * @param lanes - size of the workgroup, a power of two
 */
export function reduceOverLanes(facts: DeviceFacts, lanes: number = rowLanes(facts)): string {
  if (fixedSubgroup(facts) && lanes === rowLanes(facts))
    return `
    fn sum_over_lanes(lane: u32, value: f32) -> f32 { return subgroupAdd(value); }
    fn max_over_lanes(lane: u32, value: f32) -> f32 { return subgroupMax(value); }`;
  const tree = (name: string, combine: (a: string, b: string) => string): string => `
    fn ${name}(lane: u32, value: f32) -> f32 {
      workgroupBarrier();
      shared_lanes[lane] = value;
      workgroupBarrier();
      for (var half = ${lanes / 2}u; half > 0u; half >>= 1u) {
        if (lane < half) { shared_lanes[lane] = ${combine("shared_lanes[lane]", "shared_lanes[lane + half]")}; }
        workgroupBarrier();
      }
      return shared_lanes[0];
    }`;
  return `
    var<workgroup> shared_lanes: array<f32, ${lanes}>;
    ${tree("sum_over_lanes", (a, b) => `${a} + ${b}`)}
    ${tree("max_over_lanes", (a, b) => `max(${a}, ${b})`)}`;
}

export function fixedSubgroup(facts: DeviceFacts): boolean {
  // a compiler may pick any size in the range, so only an empty range is a promise
  return (
    facts.subgroups && facts.software && facts.subgroupMinSize === facts.subgroupMaxSize && facts.subgroupMinSize >= 4
  );
}
