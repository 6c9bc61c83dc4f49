// Attention of one new token per row over cached keys and values. The caches of a layer are `[rows · capacity, kvHeads ·
// headDim]`; how much of them is filled is data, so one recorded program serves every step. The keys are cut into
// splits, so that few rows with many keys still keep a GPU busy (Dao et al. 2023, "Flash-Decoding").

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { each, headElement, headVectors, loadHead, scoreOf, softTanh, storeHead, UNSEEN } from "./attention/head.ts";
import { fixedSubgroup, reduceOverLanes, rowLanes } from "./lanes.ts";

/** Keys that one workgroup goes over. */
export const KEYS_PER_SPLIT = 64;

/** The keys a row's new token sees: [first, length). */
const VISIBLE = /* wgsl */ `
      let length = u32(clamp(lengths[row], 0, i32(p.capacity)));
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
 * q [rows, heads · headDim], caches, lengths [rows] (filled positions, the new token included; 0 = idle row) → per
 * (row, head) and split of its keys: mixed [rows · heads, splits, headDim] = Σ 2^(score − top) · v and tops [rows · heads,
 * splits] of (top, Σ 2^(score − top)), score = scale · q·k, with spec softCap cap · tanh(scale · q·k); zeros where a split has no visible key. `window` 0
 * means all. Spec: headDim, softCap.
 */
export const decodeSplits: Kernel<
  "rows" | "heads" | "kv_heads" | "vectors" | "capacity" | "splits" | "window" | "scale" | "cap",
  "q" | "cache_k" | "cache_v" | "lengths",
  "mixed" | "tops",
  never
> = defineKernel({
  label: "decode_splits",
  params: {
    rows: "u32",
    heads: "u32",
    kv_heads: "u32",
    vectors: "u32",
    capacity: "u32",
    splits: "u32",
    window: "u32",
    scale: "f32",
    cap: "f32",
  },
  reads: { q: headElement, cache_k: headElement, cache_v: headElement, lengths: "i32" },
  writes: { mixed: headElement, tops: "vec2f" },
  workgroups: ({ rows, heads, splits }) => rows * heads * splits,
  wgsl: (spec, facts) => {
    const lanes = rowLanes(facts);
    const keys = KEYS_PER_SPLIT / lanes; // per lane
    const pieces = Math.ceil(headVectors(spec) / lanes);
    const shuffled = fixedSubgroup(facts);
    return /* wgsl */ `
    ${["q", "cache_k", "cache_v"].map((name) => loadHead(name, spec)).join("\n")}
    ${storeHead("mixed", spec)}
    ${softTanh(spec)}
    ${reduceOverLanes(facts)}
    ${shuffled ? "" : `var<workgroup> weights: array<f32, ${lanes}>;`}
    ${shuffled ? "@diagnostic(off, subgroup_uniformity)" : ""}
    @compute @workgroup_size(${lanes})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let query = group / p.splits;
      let split = group % p.splits;
      if (query >= p.rows * p.heads) { return; }
      let row = query / p.heads;
      let kv_head = (query % p.heads) / (p.heads / p.kv_heads);
      ${VISIBLE}
      let begin = max(first, split * ${KEYS_PER_SPLIT}u);
      let end = min(length, (split + 1u) * ${KEYS_PER_SPLIT}u);
      // an empty split goes through with no keys and no numbers, and writes zeros
      let depth = select(0u, p.vectors, begin < end);

      // lane = key
      let key = split * ${KEYS_PER_SPLIT}u + lane;
      ${each(
        keys,
        (c) => `
        let row${c} = (row * p.capacity + min(key + ${c * lanes}u, max(end, 1u) - 1u)) * p.kv_heads + kv_head;
        var w${c} = 0.0;`,
      )}
      for (var d = 0u; d < depth; d++) {
        let x = load_q(query, d) * p.scale;
        ${each(keys, (c) => `w${c} += dot(x, load_cache_k(row${c}, d));`)}
      }
      var own_top = ${UNSEEN};
      ${each(
        keys,
        (c) => `
        w${c} = ${scoreOf(spec, `w${c}`)};
        let seen${c} = key + ${c * lanes}u >= begin && key + ${c * lanes}u < end;
        own_top = max(own_top, select(${UNSEEN}, w${c}, seen${c}));`,
      )}
      let top = max_over_lanes(lane, own_top);
      var own_sum = 0.0;
      ${each(keys, (c) => `w${c} = select(0.0, exp2(w${c} - top), seen${c}); own_sum += w${c};`)}
      let sum = sum_over_lanes(lane, own_sum);
      if (lane == 0u) { tops[group] = vec2f(top, sum); }

      // lane = four of the head's numbers
      ${each(pieces, (c) => `let part${c} = min(lane + ${c * lanes}u, p.vectors - 1u); var o${c} = vec4f();`)}
      for (var at = split * ${KEYS_PER_SPLIT}u; at < end; at += ${lanes}u) {
        ${shuffled ? "" : "workgroupBarrier(); weights[lane] = w0; workgroupBarrier();"}
        let count = min(${lanes}u, end - at);
        for (var s = 0u; s < count; s++) {
          let w = ${shuffled ? "subgroupShuffle(w0, s)" : "weights[s]"};
          let value_row = (row * p.capacity + at + s) * p.kv_heads + kv_head;
          ${each(pieces, (c) => `o${c} += w * load_cache_v(value_row, part${c});`)}
        }
        // the next keys move up: one copy of the loop's body serves all
        ${each(keys - 1, (c) => `w${c} = w${c + 1};`)}
      }
      ${each(pieces, (c) => `if (lane + ${c * lanes}u < p.vectors) { store_mixed(group, part${c}, o${c}); }`)}
    }`;
  },
});

/** mixed, tops of {@link decodeSplits} → out [rows, heads · headDim]; 0 for idle rows. Spec: headDim. */
export const decodeMerge: Kernel<
  "rows" | "heads" | "vectors" | "capacity" | "splits" | "window",
  "mixed" | "tops" | "lengths",
  "out",
  never
> = defineKernel({
  label: "decode_merge",
  params: { rows: "u32", heads: "u32", vectors: "u32", capacity: "u32", splits: "u32", window: "u32" },
  reads: { mixed: headElement, tops: "vec2f", lengths: "i32" },
  writes: { out: headElement },
  workgroups: ({ rows, heads, vectors }) => Math.ceil((rows * heads * vectors) / 64),
  wgsl: (spec) => /* wgsl */ `
    ${loadHead("mixed", spec)}
    ${storeHead("out", spec)}
    @compute @workgroup_size(64)
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let query = (group * 64u + lane) / p.vectors;
      let part = (group * 64u + lane) % p.vectors;
      if (query >= p.rows * p.heads) { return; }
      let row = query / p.heads;
      ${VISIBLE}
      var top = ${UNSEEN};
      var sum = 0.0;
      var o = vec4f();
      let begin = query * p.splits + first / ${KEYS_PER_SPLIT}u;
      let end = query * p.splits + (length + ${KEYS_PER_SPLIT - 1}u) / ${KEYS_PER_SPLIT}u;
      for (var i = begin; i < end; i++) {
        let next = tops[i];
        let both = max(top, next.x);
        let before = exp2(top - both);
        let added = exp2(next.x - both);
        sum = sum * before + next.y * added;
        o = o * before + load_mixed(i, part) * added;
        top = both;
      }
      store_out(query, part, select(vec4f(), o / sum, length > 0u));
    }`,
});
