// The update: norm and clip factor of all gradients, then an optimizer over flat shards, four parameters per lane at a time.

import { defineKernel, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { groups, overVectors } from "./elementwise.ts";
import { reduceOverLanes, rowLanes } from "./lanes.ts";
import { SUM_OF_PARTIALS } from "./sums.ts";

/**
 * partials [n] (sums of squared gradients), scalars [4, groups], whose fourth is what gradients are multiplied with to undo a loss scale →
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

/** What every update kernel takes: vec4 `start` … `start + n/4` of a shard, all of one group. */
const GROUP = { n: "u32", start: "u32", group: "u32" } as const;
/** f32 read and written; of a shard only the range that the launch names */
const BYTES = 8;
const READS = { clip: "f32", scalars: "vec4f" } as const;

/** `main` with the clipped gradient `g` and the group's scalars `s` of every vec4 `at`; the gradient is left zero. */
function overGroup(body: string): string {
  return overVectors(/* wgsl */ `
      if (clip[2] != 0.0) { return; }
      let at = p.start + i;
      let s = scalars[p.group];
      let g = gradients[at] * clip[1];
      ${body}
      gradients[at] = vec4f(0.0);`);
}

/**
 * One AdamW step on vec4 `start` … `start + n/4` of a shard, in torch's order: decay, moments, update. Leaves the
 * gradients zero. Does nothing while halted. Of the group's scalars it takes (1 − lr·decay, lr / (1 − β1^t),
 * sqrt(1 − β2^t)); rest1 = 1 − β1, rest2 = 1 − β2.
 */
export const adamwUpdate: Kernel<
  "n" | "start" | "group" | "rest1" | "beta2" | "rest2" | "eps",
  "clip" | "scalars",
  never,
  "values" | "gradients" | "m" | "v"
> = defineKernel({
  label: "adamw",
  params: { ...GROUP, rest1: "f32", beta2: "f32", rest2: "f32", eps: "f32" },
  reads: READS,
  updates: { values: "vec4f", gradients: "vec4f", m: "vec4f", v: "vec4f" },
  workgroups: ({ n }) => groups(n),
  wgsl: () =>
    overGroup(/* wgsl */ `
      let m1 = m[at] + p.rest1 * (g - m[at]);
      let v1 = p.beta2 * v[at] + p.rest2 * (g * g);
      values[at] = values[at] * s.x - s.y * (m1 / (sqrt(v1) / s.z + p.eps));
      m[at] = m1;
      v[at] = v1;`),
  cost: ({ n }) => ({ flops: 15 * n, bytes: BYTES * 4 * n }),
});

/**
 * One step of SGD with momentum as torch takes it: g += decay · x; m = momentum · m + g; x −= lr · (m, or g + momentum · m
 * for Nesterov's). Of the group's scalars it takes (lr, decay). The rest is as in `adamwUpdate`.
 */
export const sgdMomentumUpdate: Kernel<
  "n" | "start" | "group" | "momentum" | "nesterov",
  "clip" | "scalars",
  never,
  "values" | "gradients" | "m"
> = defineKernel({
  label: "sgd_momentum",
  params: { ...GROUP, momentum: "f32", nesterov: "u32" },
  reads: READS,
  updates: { values: "vec4f", gradients: "vec4f", m: "vec4f" },
  workgroups: ({ n }) => groups(n),
  wgsl: () =>
    overGroup(/* wgsl */ `
      let d = g + s.y * values[at];
      let m1 = p.momentum * m[at] + d;
      values[at] -= s.x * select(m1, d + p.momentum * m1, p.nesterov != 0u);
      m[at] = m1;`),
  cost: ({ n }) => ({ flops: 8 * n, bytes: BYTES * 3 * n }),
});

/** SGD without momentum: x −= lr · (g + decay · x). Scalars as in `sgdMomentumUpdate`. */
export const sgdUpdate: Kernel<"n" | "start" | "group", "clip" | "scalars", never, "values" | "gradients"> =
  defineKernel({
    label: "sgd",
    params: GROUP,
    reads: READS,
    updates: { values: "vec4f", gradients: "vec4f" },
    workgroups: ({ n }) => groups(n),
    wgsl: () =>
      overGroup(/* wgsl */ `
        values[at] -= s.x * (g + s.y * values[at]);`),
    cost: ({ n }) => ({ flops: 5 * n, bytes: BYTES * 2 * n }),
  });

/**
 * One Lion step: x = x · (1 − lr·decay) − lr · sign(β1·m + (1 − β1)·g); m = β2·m + (1 − β2)·g. Of the group's scalars it
 * takes (1 − lr·decay, lr). The rest is as in `adamwUpdate`.
 */
export const lionUpdate: Kernel<
  "n" | "start" | "group" | "beta1" | "rest1" | "beta2" | "rest2",
  "clip" | "scalars",
  never,
  "values" | "gradients" | "m"
> = defineKernel({
  label: "lion",
  params: { ...GROUP, beta1: "f32", rest1: "f32", beta2: "f32", rest2: "f32" },
  reads: READS,
  updates: { values: "vec4f", gradients: "vec4f", m: "vec4f" },
  workgroups: ({ n }) => groups(n),
  wgsl: () =>
    overGroup(/* wgsl */ `
      values[at] = values[at] * s.x - s.y * sign(p.beta1 * m[at] + p.rest1 * g);
      m[at] = p.beta2 * m[at] + p.rest2 * g;`),
  cost: ({ n }) => ({ flops: 9 * n, bytes: BYTES * 3 * n }),
});
