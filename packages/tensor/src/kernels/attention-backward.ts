// Backward of attention-forward.ts: the weights are computed again from q, k and the saved lse, so nothing of size
// [tokens, tokens] is kept. dq runs over queries; dk and dv run over keys, with the query heads of the group inside:
// every sum belongs to one lane, in a fixed order, without atomics (Dao 2023, arXiv:2307.08691, algorithm 2).

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import {
  blockAndUnit,
  boundsOverLanes,
  defineTile,
  dotRows,
  each,
  headElement,
  headVectors,
  loadHead,
  storeHead,
} from "./attention-tile.ts";
import { rowLanes } from "./lanes.ts";

const LANES = 64;

/** out, dout [rows, headDim], lse [rows], rows = tokens · heads → stats [rows] of (lse, Σ out·dout). Spec: headDim. */
export const attentionStats: Kernel<"rows", "out" | "dout" | "lse", "stats", never> = defineKernel({
  label: "attention_stats",
  params: { rows: "u32" },
  reads: { out: headElement, dout: headElement, lse: "f32" },
  writes: { stats: "vec2f" },
  workgroups: ({ rows }) => Math.ceil(rows / LANES),
  wgsl: (spec) => /* wgsl */ `
    ${loadHead("out", spec)}
    ${loadHead("dout", spec)}
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let row = group * ${LANES}u + lane;
      if (row >= p.rows) { return; }
      var sum = vec4f();
      for (var v = 0u; v < ${headVectors(spec)}u; v++) { sum += load_out(row, v) * load_dout(row, v); }
      stats[row] = vec2f(lse[row], (sum.x + sum.y) + (sum.z + sum.w));
    }`,
});

/**
 * dout like q, stats [tokens, heads] → dq like q. `scale` is the forward's, with the factor log2(e); `gradient_scale`
 * is the one without it. Spec: headDim, headsPerLane.
 */
export const attentionBackwardQuery: Kernel<
  "tokens" | "heads" | "kv_heads" | "window" | "scale" | "gradient_scale",
  "q" | "k" | "v" | "dout" | "stats" | "segment_start",
  "dq",
  never
> = defineKernel({
  label: "attention_backward_query",
  params: {
    tokens: "u32",
    heads: "u32",
    kv_heads: "u32",
    window: "i32",
    scale: "f32",
    gradient_scale: "f32",
  },
  reads: {
    q: headElement,
    k: headElement,
    v: headElement,
    dout: headElement,
    stats: "vec2f",
    segment_start: "i32",
  },
  writes: { dq: headElement },
  workgroups: ({ tokens, heads }, spec, facts) =>
    (Math.ceil(tokens / rowLanes(facts)) * heads) / Number(spec["headsPerLane"]),
  wgsl: (spec, facts) => {
    const heads = Number(spec["headsPerLane"]);
    const vectors = headVectors(spec);
    const tile = defineTile(facts, spec, {
      arrays: ["k", "v"],
      row: "t * p.kv_heads + kv_head",
      kept: "segment_start[t] >= 0",
    });
    return /* wgsl */ `
    ${["q", "k", "v", "dout"].map((name) => loadHead(name, spec)).join("\n")}
    ${storeHead("dq", spec)}
    ${boundsOverLanes(facts)}
    ${tile.declarations}
    @diagnostic(off, subgroup_uniformity)
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      ${blockAndUnit(facts)}
      let head = unit * ${heads}u;
      if (head >= p.heads) { return; }
      let kv_head = head / (p.heads / p.kv_heads);
      let i = i32(block * ${rowLanes(facts)}u + lane);
      let token = min(u32(i), p.tokens - 1u);
      let start = select(-1, segment_start[token], u32(i) < p.tokens);
      let here = start >= 0;
      let lower = select(2147483647, max(start, i - p.window + 1), here);
      let range = bounds(lane, lower, select(-1, i, here));
      let row = token * p.heads + head;
      ${each(
        heads,
        (h) => `
        ${each(
          vectors,
          (v) => `
          let q${h}_${v} = select(vec4f(), load_q(row + ${h}u, ${v}u) * p.scale, here);
          let do${h}_${v} = select(vec4f(), load_dout(row + ${h}u, ${v}u), here);
          var dq${h}_${v} = vec4f();`,
        )}
        let stats${h} = stats[row + ${h}u];`,
      )}
      for (var first = range.x; first <= range.y; first += ${tile.rows}) {
        ${tile.load("first")}
        for (var s = 0u; s < ${tile.rows}u; s++) {
          let j = first + i32(s);
          let seen = j >= lower && j <= i;
          ${each(vectors, (v) => `let key_${v} = ${tile.row("k", v, "s")};`)}
          ${each(vectors, (v) => `let value_${v} = ${tile.row("v", v, "s")};`)}
          ${each(
            heads,
            (h) => `
            ${dotRows(
              `score${h}`,
              vectors,
              (v) => `q${h}_${v}`,
              (v) => `key_${v}`,
            )}
            ${dotRows(
              `dweight${h}`,
              vectors,
              (v) => `do${h}_${v}`,
              (v) => `value_${v}`,
            )}
            let dscore${h} = select(0.0, exp2(score${h} - stats${h}.x) * (dweight${h} - stats${h}.y), seen);
            ${each(vectors, (v) => `dq${h}_${v} += dscore${h} * key_${v};`)}`,
          )}
        }
      }
      if (u32(i) >= p.tokens) { return; }
      ${each(heads, (h) =>
        each(vectors, (v) => `store_dq(row + ${h}u, ${v}u, select(vec4f(), dq${h}_${v} * p.gradient_scale, here));`),
      )}
    }`;
  },
});

/**
 * Like {@link attentionBackwardQuery} with segment_end [tokens] (one past the last token of the segment; ≤ the token
 * itself: padding) → dk, dv like k and v. Spec: headDim.
 */
export const attentionBackwardKeyValue: Kernel<
  "tokens" | "heads" | "kv_heads" | "window" | "scale" | "gradient_scale",
  "q" | "k" | "v" | "dout" | "stats" | "segment_end",
  "dk" | "dv",
  never
> = defineKernel({
  label: "attention_backward_key_value",
  params: {
    tokens: "u32",
    heads: "u32",
    kv_heads: "u32",
    window: "i32",
    scale: "f32",
    gradient_scale: "f32",
  },
  reads: {
    q: headElement,
    k: headElement,
    v: headElement,
    dout: headElement,
    stats: "vec2f",
    segment_end: "i32",
  },
  writes: { dk: headElement, dv: headElement },
  workgroups: ({ tokens, kv_heads }, _, facts) => Math.ceil(tokens / rowLanes(facts)) * kv_heads,
  wgsl: (spec, facts) => {
    const vectors = headVectors(spec);
    const tile = defineTile(facts, spec, {
      arrays: ["q", "dout"],
      pairs: ["stats"],
      row: "t * p.heads + head",
      kept: "segment_end[t] > i32(t)",
    });
    return /* wgsl */ `
    ${["q", "k", "v", "dout"].map((name) => loadHead(name, spec)).join("\n")}
    ${storeHead("dk", spec)}
    ${storeHead("dv", spec)}
    ${boundsOverLanes(facts)}
    ${tile.declarations}
    @diagnostic(off, subgroup_uniformity)
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      ${blockAndUnit(facts)}
      if (unit >= p.kv_heads) { return; }
      let j = i32(block * ${rowLanes(facts)}u + lane);
      let token = min(u32(j), p.tokens - 1u);
      let end = select(0, segment_end[token], u32(j) < p.tokens);
      let here = end > j;
      // j + window may pass the largest i32, end − j cannot
      let last = select(-1, j + min(end - j, p.window) - 1, here);
      let range = bounds(lane, select(2147483647, j, here), last);
      let row = token * p.kv_heads + unit;
      ${each(
        vectors,
        (v) => `
        let k_${v} = select(vec4f(), load_k(row, ${v}u) * p.scale, here);
        let v_${v} = select(vec4f(), load_v(row, ${v}u), here);
        var dk_${v} = vec4f();
        var dv_${v} = vec4f();`,
      )}
      let group_heads = p.heads / p.kv_heads;
      for (var head = unit * group_heads; head < (unit + 1u) * group_heads; head++) {
        for (var first = range.x; first <= range.y; first += ${tile.rows}) {
          ${tile.load("first")}
          for (var s = 0u; s < ${tile.rows}u; s++) {
            let i = first + i32(s);
            let seen = i >= j && i <= last;
            ${each(vectors, (v) => `let query_${v} = ${tile.row("q", v, "s")};`)}
            ${each(vectors, (v) => `let do_${v} = ${tile.row("dout", v, "s")};`)}
            let stat = ${tile.pair("stats", "s")};
            ${dotRows(
              "score",
              vectors,
              (v) => `k_${v}`,
              (v) => `query_${v}`,
            )}
            ${dotRows(
              "dweight",
              vectors,
              (v) => `v_${v}`,
              (v) => `do_${v}`,
            )}
            let weight = select(0.0, exp2(score - stat.x), seen);
            let dscore = select(0.0, weight * (dweight - stat.y), seen);
            ${each(vectors, (v) => `dv_${v} += weight * do_${v};`)}
            ${each(vectors, (v) => `dk_${v} += dscore * query_${v};`)}
          }
        }
      }
      if (u32(j) >= p.tokens) { return; }
      ${each(
        vectors,
        (v) => `
        store_dk(row, ${v}u, select(vec4f(), dk_${v} * p.gradient_scale, here));
        store_dv(row, ${v}u, select(vec4f(), dv_${v}, here));`,
      )}
    }`;
  },
});
