// The update: norm and clip factor of all gradients, then AdamW over flat shards, four parameters per lane at a time.

import { defineKernel, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { groups, overVectors } from "./elementwise.ts";
import { reduceOverLanes, rowLanes } from "./lanes.ts";
import { SUM_OF_PARTIALS } from "./sums.ts";

/**
 * partials [n] (sums of squared gradients), scalars [4] = (1 − lr·decay, lr / (1 − β1^t), sqrt(1 − β2^t), unscale) →
 * clip [3] = (norm, factor to multiply gradients with, 1 if halted). A norm that is not finite sets `halt`, which
 * nothing here ever clears. max_norm 0 means no clipping.
 */
export const clipFactor: Kernel<"n" | "max_norm", "partials" | "scalars", "clip", "halt"> = defineKernel({
  label: "clip_factor",
  params: { n: "u32", max_norm: "f32" },
  reads: { partials: "f32", scalars: "f32" },
  writes: { clip: "f32" },
  updates: { halt: "u32" },
  workgroups: () => 1,
  wgsl: (_, facts) => /* wgsl */ `
    ${reduceOverLanes(facts)}
    ${SUM_OF_PARTIALS(rowLanes(facts))}
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      let squares = sum_of_partials(lane, p.n);
      if (lane != 0u) { return; }
      let unscale = scalars[3];
      let norm = sqrt(squares) * unscale;
      // by its bits: shader compilers may assume that floats are finite
      if ((bitcast<u32>(squares) & 0x7f800000u) == 0x7f800000u) { halt[0] = 1u; }
      let limit = select(1.0, min(1.0, p.max_norm / (norm + 1e-6)), p.max_norm > 0.0);
      clip[0] = norm;
      clip[1] = limit * unscale;
      clip[2] = f32(halt[0]);
    }`,
});

/**
 * One AdamW step on vec4 `start` … `start + n/4` of a shard, in torch's order: decay, moments, update. Leaves the
 * gradients zero. Does nothing while halted. `decayed` 0 leaves the decay out; rest1 = 1 − β1, rest2 = 1 − β2.
 */
export const adamwUpdate: Kernel<
  "n" | "start" | "decayed" | "rest1" | "beta2" | "rest2" | "eps",
  "clip" | "scalars",
  never,
  "values" | "gradients" | "m" | "v"
> = defineKernel({
  label: "adamw",
  params: {
    n: "u32",
    start: "u32",
    decayed: "u32",
    rest1: "f32",
    beta2: "f32",
    rest2: "f32",
    eps: "f32",
  },
  reads: { clip: "f32", scalars: "f32" },
  updates: { values: "vec4f", gradients: "vec4f", m: "vec4f", v: "vec4f" },
  workgroups: ({ n }) => groups(n),
  wgsl: () =>
    overVectors(/* wgsl */ `
      if (clip[2] != 0.0) { return; }
      let at = p.start + i;
      let g = gradients[at] * clip[1];
      let m1 = m[at] + p.rest1 * (g - m[at]);
      let v1 = p.beta2 * v[at] + p.rest2 * (g * g);
      let keep = select(1.0, scalars[0], p.decayed != 0u);
      values[at] = values[at] * keep - scalars[1] * (m1 / (sqrt(v1) / scalars[2] + p.eps));
      m[at] = m1;
      v[at] = v1;
      gradients[at] = vec4f(0.0);`),
  // four arrays of f32, read and written; of a shard only the range that the launch names
  cost: ({ n }) => ({ flops: 15 * n, bytes: 4 * 2 * 4 * n }),
});
