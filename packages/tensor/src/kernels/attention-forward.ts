// Causal attention over one flat sequence whose segments fence it, forward. Online softmax over tiles of keys
// (Milakov & Gimelshein 2018, arXiv:1805.02867; Dao 2023, arXiv:2307.08691): no [tokens, tokens] tensor exists.
// Exponentials are to base 2: the caller's scale carries the factor log2(e).

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel, Spec } from "../kernel.ts";
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

/** Query heads a lane works on at once: as many of one key head's group as registers bear. */
export function headsPerLane(options: { headDim: number; group: number }): number {
  const most = options.headDim <= 8 ? 4 : options.headDim <= 16 ? 2 : 1;
  return [4, 2, 1].find((n) => n <= most && options.group % n === 0)!;
}

/** Keys whose scores are taken before one rescaling of the output: fewer where unrolled code would grow long. */
function keysPerStep(spec: Spec): number {
  const work = headVectors(spec) * Number(spec["headsPerLane"]);
  return work <= 8 ? 8 : work <= 16 ? 4 : work <= 32 ? 2 : 1;
}

/**
 * q [tokens, heads, headDim], k, v [tokens, kv_heads, headDim], segment_start [tokens] (first token of the segment;
 * −1: padding) → out like q, lse [tokens, heads] = log2 Σ 2^score. Scores are `scale · q·k`; query i sees the keys
 * max(segment_start, i − window + 1) … i. Padding rows become zero. Spec: headDim, headsPerLane (divides
 * heads / kv_heads).
 */
export const attentionForward: Kernel<
  "tokens" | "heads" | "kv_heads" | "window" | "scale",
  "q" | "k" | "v" | "segment_start",
  "out" | "lse",
  never
> = defineKernel({
  label: "attention_forward",
  params: { tokens: "u32", heads: "u32", kv_heads: "u32", window: "i32", scale: "f32" },
  reads: { q: headElement, k: headElement, v: headElement, segment_start: "i32" },
  writes: { out: headElement, lse: "f32" },
  workgroups: ({ tokens, heads }, spec, facts) =>
    (Math.ceil(tokens / rowLanes(facts)) * heads) / Number(spec["headsPerLane"]),
  wgsl: (spec, facts) => {
    const heads = Number(spec["headsPerLane"]);
    const vectors = headVectors(spec);
    const step = keysPerStep(spec);
    const tile = defineTile(facts, spec, {
      arrays: ["k", "v"],
      row: "t * p.kv_heads + kv_head",
      kept: "segment_start[t] >= 0",
    });
    const unroll = Math.min(step, tile.rows);
    return /* wgsl */ `
    ${["q", "k", "v"].map((name) => loadHead(name, spec)).join("\n")}
    ${storeHead("out", spec)}
    ${boundsOverLanes(facts)}
    ${tile.declarations}
    const UNSEEN = -3e38;
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
        ${each(vectors, (v) => `let q${h}_${v} = select(vec4f(), load_q(row + ${h}u, ${v}u) * p.scale, here);`)}
        ${each(vectors, (v) => `var o${h}_${v} = vec4f();`)}
        var max${h} = -1e30;
        var sum${h} = 0.0;`,
      )}
      for (var first = range.x; first <= range.y; first += ${tile.rows}) {
        ${tile.load("first")}
        for (var s = 0u; s < ${tile.rows}u; s += ${unroll}u) {
          let j = first + i32(s);
          ${each(
            unroll,
            (u) => `
            let seen${u} = j + ${u} >= lower && j + ${u} <= i;
            ${each(vectors, (v) => `let k${u}_${v} = ${tile.row("k", v, `s + ${u}u`)};`)}
            ${each(
              heads,
              (h) => `
              ${dotRows(
                `dot${h}_${u}`,
                vectors,
                (v) => `q${h}_${v}`,
                (v) => `k${u}_${v}`,
              )}
              let score${h}_${u} = select(UNSEEN, dot${h}_${u}, seen${u});`,
            )}`,
          )}
          ${each(
            heads,
            (h) => `
            var top${h} = max${h};
            ${each(unroll, (u) => `top${h} = max(top${h}, score${h}_${u});`)}
            let shrink${h} = exp2(max${h} - top${h});
            max${h} = top${h};
            sum${h} *= shrink${h};
            ${each(vectors, (v) => `o${h}_${v} *= shrink${h};`)}
            ${each(
              unroll,
              (u) => `let weight${h}_${u} = select(0.0, exp2(score${h}_${u} - top${h}), seen${u});
              sum${h} += weight${h}_${u};`,
            )}`,
          )}
          ${each(unroll, (u) =>
            each(
              vectors,
              (v) => `
              let v${u}_${v} = ${tile.row("v", v, `s + ${u}u`)};
              ${each(heads, (h) => `o${h}_${v} += weight${h}_${u} * v${u}_${v};`)}`,
            ),
          )}
        }
      }
      if (u32(i) >= p.tokens) { return; }
      ${each(
        heads,
        (h) => `
        let norm${h} = select(0.0, 1.0 / sum${h}, here);
        ${each(vectors, (v) => `store_out(row + ${h}u, ${v}u, select(vec4f(), o${h}_${v} * norm${h}, here));`)}
        lse[row + ${h}u] = select(0.0, max${h} + log2(sum${h}), here);`,
      )}
    }`;
  },
});
