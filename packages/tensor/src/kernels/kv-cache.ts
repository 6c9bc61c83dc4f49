// Attention of one new token per row over cached keys and values. The cache of a layer is `[rows · capacity, kvHeads · headDim]`
// for keys and the same for values; how much of it is filled is data, so one recorded program serves every step.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { reduceOverLanes, rowLanes } from "./lanes.ts";

const KEYS_PER_GROUP = 64;

/** The keys a row's new token sees: [first, length). */
const VISIBLE = /* wgsl */ `
      let length = u32(max(lengths[row], 0));
      let first = select(0u, length - p.window, p.window > 0u && length > p.window);`;

/**
 * k, v [count, width] → row `slots[i]` of the caches (slot = row · capacity + position; −1 writes nothing). Serves the
 * prompt (many tokens at once) and every later token.
 */
export const cacheKeysValues: Kernel<"count" | "width", "k" | "v" | "slots", never, "cache_k" | "cache_v"> =
  defineKernel({
    label: "cache_keys_values",
    params: { count: "u32", width: "u32" },
    reads: { k: "f32", v: "f32", slots: "i32" },
    updates: { cache_k: "f32", cache_v: "f32" },
    workgroups: ({ count, width }) => Math.ceil((count * width) / 64),
    wgsl: () => /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let i = group * 64u + lane;
      if (i >= p.count * p.width) { return; }
      let slot = slots[i / p.width];
      if (slot < 0) { return; }
      let at = u32(slot) * p.width + i % p.width;
      cache_k[at] = k[i];
      cache_v[at] = v[i];
    }`,
  });

/**
 * q [rows, heads · head_dim], cache_k, lengths [rows] (filled positions, the new token included; 0 = idle row) →
 * scores [rows · heads, capacity]: scale · q·k for the positions each row may see. `window` 0 means all.
 */
export const decodeScores: Kernel<
  "rows" | "heads" | "kv_heads" | "head_dim" | "capacity" | "window" | "scale",
  "q" | "cache_k" | "lengths",
  "scores",
  never
> = defineKernel({
  label: "decode_scores",
  params: { rows: "u32", heads: "u32", kv_heads: "u32", head_dim: "u32", capacity: "u32", window: "u32", scale: "f32" },
  reads: { q: "f32", cache_k: "f32", lengths: "i32" },
  writes: { scores: "f32" },
  workgroups: ({ rows, heads, capacity }) => rows * heads * Math.ceil(capacity / KEYS_PER_GROUP),
  wgsl: () => /* wgsl */ `
    @compute @workgroup_size(${KEYS_PER_GROUP})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let blocks = (p.capacity + ${KEYS_PER_GROUP - 1}u) / ${KEYS_PER_GROUP}u;
      let query = group / blocks;
      if (query >= p.rows * p.heads) { return; }
      let row = query / p.heads;
      let head = query % p.heads;
      let key = (group % blocks) * ${KEYS_PER_GROUP}u + lane;
      ${VISIBLE}
      if (key < first || key >= length) { return; }
      let q_at = query * p.head_dim;
      let k_at = ((row * p.capacity + key) * p.kv_heads + head / (p.heads / p.kv_heads)) * p.head_dim;
      var sum = 0.0;
      for (var d = 0u; d < p.head_dim; d++) { sum += q[q_at + d] * cache_k[k_at + d]; }
      scores[query * p.capacity + key] = p.scale * sum;
    }`,
});

/** scores as above (overwritten), cache_v → out [rows, heads · head_dim] = Σ softmax(scores) · v; 0 for idle rows. */
export const decodeMix: Kernel<
  "rows" | "heads" | "kv_heads" | "head_dim" | "capacity" | "window",
  "cache_v" | "lengths",
  "out",
  "scores"
> = defineKernel({
  label: "decode_mix",
  params: { rows: "u32", heads: "u32", kv_heads: "u32", head_dim: "u32", capacity: "u32", window: "u32" },
  reads: { cache_v: "f32", lengths: "i32" },
  writes: { out: "f32" },
  updates: { scores: "f32" },
  workgroups: ({ rows, heads }) => rows * heads,
  wgsl: (_, facts) => /* wgsl */ `
    ${reduceOverLanes(facts)}
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let query = group;
      if (query >= p.rows * p.heads) { return; }
      let row = query / p.heads;
      let head = query % p.heads;
      ${VISIBLE}
      let s_at = query * p.capacity;
      var top = -3.4e38;
      for (var key = first + lane; key < length; key += ${rowLanes(facts)}u) { top = max(top, scores[s_at + key]); }
      top = max_over_lanes(lane, top);
      var sum = 0.0;
      for (var key = first + lane; key < length; key += ${rowLanes(facts)}u) {
        let e = exp(scores[s_at + key] - top);
        scores[s_at + key] = e;
        sum += e;
      }
      let total = sum_over_lanes(lane, sum);
      storageBarrier(); // the lanes now read what their neighbours wrote
      for (var d = lane; d < p.head_dim; d += ${rowLanes(facts)}u) {
        var mixed = 0.0;
        for (var key = first; key < length; key++) {
          mixed += scores[s_at + key] * cache_v[((row * p.capacity + key) * p.kv_heads + head / (p.heads / p.kv_heads)) * p.head_dim + d];
        }
        out[query * p.head_dim + d] = select(0.0, mixed / total, length > 0u);
      }
    }`,
});
