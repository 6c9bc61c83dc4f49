import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { reduceOverLanes, rowLanes } from "./lanes.ts";
import { partialCount, SUM_BLOCK } from "./sums.ts";

/**
 * gradients [n] += strength · (values − start) / unscale, and partials[first + block] = Σ (values − start)² over each block of
 * elements. n is a multiple of 4; scalars [4, groups] are those of the update, whose fourth undoes a loss scale. While
 * halted gradients stay.
 */
export const startPenalty: Kernel<
  "n" | "first" | "strength",
  "values" | "start" | "scalars" | "halt",
  "partials",
  "gradients"
> = defineKernel({
  label: "start_penalty",
  params: { n: "u32", first: "u32", strength: "f32" },
  reads: { values: "vec4f", start: "vec4f", scalars: "vec4f", halt: "u32" },
  writes: { partials: "f32" },
  updates: { gradients: "vec4f" },
  workgroups: ({ n }) => partialCount(n),
  wgsl: (_, facts) => /* wgsl */ `
    ${reduceOverLanes(facts)}
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group * ${SUM_BLOCK}u >= p.n) { return; }
      let end = min((group + 1u) * ${SUM_BLOCK / 4}u, p.n / 4u);
      let strength = select(p.strength / scalars[0].w, 0.0, halt[0] != 0u);
      var sum = vec4f(0.0);
      for (var i = group * ${SUM_BLOCK / 4}u + lane; i < end; i += ${rowLanes(facts)}u) {
        let d = values[i] - start[i];
        gradients[i] += strength * d;
        sum += d * d;
      }
      let total = sum_over_lanes(lane, (sum.x + sum.y) + (sum.z + sum.w));
      if (lane == 0u) { partials[p.first + group] = total; }
    }`,
  cost: ({ n }) => ({ flops: 5 * n, bytes: 16 * n }),
});
