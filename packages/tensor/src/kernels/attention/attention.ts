// Causal attention over one flat sequence whose segments fence it. Forward: online softmax over tiles of keys (Milakov
// & Gimelshein 2018, arXiv:1805.02867; Dao 2023, arXiv:2307.08691), so no [tokens, tokens] tensor exists. Backward:
// the weights are computed again from q, k and the saved lse; dq runs over queries, dk and dv run over keys with the
// query heads of the group inside: every sum belongs to one thread, in a fixed order, without atomics.
// Exponentials are to base 2: the caller's `scale` (or `cap`, where there is one) carries the factor log2(e).

import type { TensorData } from "../../dtype.ts";
import type { DeviceFacts } from "../../facts.ts";
import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../../kernel.ts";
import type { Cost, Kernel, Spec } from "../../kernel.ts";
import { fixedSubgroup, rowLanes } from "../lanes.ts";
import { headElement, headVectors, loadHead } from "./head.ts";
import { backwardKeyValueByLanes, backwardQueryByLanes, forwardByLanes, MAX_LANE_DIM, rowsPerLane } from "./lanes.ts";
import { backwardKeyValueShared, backwardQueryShared, forwardShared, SHARED_ROWS } from "./shared.ts";
import { backwardKeyValueWide, backwardQueryWide, forwardWide, tokensPerLane } from "./wide.ts";

/** Largest supported head: beyond it a thread's part of a block would not fit its registers. */
export const MAX_HEAD_DIM = 256;

type Family = "lanes" | "wide" | "shared";

/** What the attention kernels are specialized to. */
export interface AttentionSpec extends Spec {
  readonly family: Family;
  readonly headDim: number;
  /** rows of the block per lane: query heads in family "lanes", tokens in family "wide", 1 in "shared" */
  readonly perLane: number;
  /** tokens per lane beside them, in family "lanes" */
  readonly tokens?: number;
  /** scores are cap · tanh(scale · q·k) */
  readonly softCap: boolean;
}

/**
 * The best variant for a device.
 * @param options.rows - what the kernel's blocks are made of
 * @param options.group - query heads per key head
 */
export function attentionSpec(
  facts: DeviceFacts,
  options: { rows: "queries" | "keys"; headDim: number; group: number; softCap: boolean },
): AttentionSpec {
  const { rows, headDim, group, softCap } = options;
  if (!fixedSubgroup(facts)) return { family: "shared", headDim, perLane: 1, softCap };
  if (headDim > MAX_LANE_DIM) {
    const outputs = rows === "keys" ? 2 : 1;
    return { family: "wide", headDim, perLane: tokensPerLane(facts, { headDim, outputs }), softCap };
  }
  const { heads, tokens } = rowsPerLane({ rows, headDim, group });
  return { family: "lanes", headDim, perLane: heads, tokens, softCap };
}

/** Workgroups: one per block of tokens and per head or group of heads. */
function groups(tokens: number, heads: number, spec: Spec, facts: DeviceFacts): number {
  const { family, perLane, tokens: beside = 1 } = spec as AttentionSpec;
  if (family === "shared") return Math.ceil(tokens / SHARED_ROWS) * heads;
  if (family === "wide") return Math.ceil(tokens / (rowLanes(facts) * perLane)) * heads;
  return Math.ceil(tokens / (rowLanes(facts) * beside)) * (heads / perLane);
}

/**
 * FLOPs of `products` products over every pair of a query and a key that it sees, per head. Where the bounds of segments
 * are no input of the program, as if all tokens were one segment.
 */
function pairCost(
  { tokens, heads, window }: { readonly tokens: number; readonly heads: number; readonly window: number },
  spec: Spec,
  products: number,
  bounds: TensorData | undefined,
  reach: (bound: number, token: number) => number,
): Cost {
  let pairs = 0;
  for (let token = 0; token < tokens; token++)
    pairs += Math.max(0, Math.min(bounds ? reach(bounds[token]!, token) : token + 1, window));
  return { flops: products * 2 * (spec as AttentionSpec).headDim * heads * pairs };
}
/** Keys that a query sees: none where it is padding. */
const keysSeen = (start: number, token: number): number => (start < 0 ? 0 : token + 1 - start);
const queriesSeeing = (end: number, token: number): number => end - token;

/** `vectors` = ceil(headDim / 4), known to the code, but kept from the compiler so that it leaves loops rolled. */
const SIZES = {
  tokens: "u32",
  heads: "u32",
  kv_heads: "u32",
  vectors: "u32",
  /** 4, for the same reason */
  four: "u32",
  window: "i32",
  scale: "f32",
  cap: "f32",
} as const;

/**
 * q [tokens, heads, headDim], k, v [tokens, kv_heads, headDim], segment_start [tokens] (first token of the segment;
 * −1: padding) → out like q, lse [tokens, heads] = log2 Σ 2^score. Scores are `scale · q·k`, with spec softCap `cap ·
 * tanh(scale · q·k)`; query i sees the keys max(segment_start, i − window + 1) … i. Padding rows become zero.
 */
export const attentionForward: Kernel<keyof typeof SIZES, "q" | "k" | "v" | "segment_start", "out" | "lse", never> =
  defineKernel({
    label: "attention_forward",
    params: SIZES,
    reads: { q: headElement, k: headElement, v: headElement, segment_start: "i32" },
    writes: { out: headElement, lse: "f32" },
    workgroups: ({ tokens, heads }, spec, facts) => groups(tokens, heads, spec, facts),
    cost: (sizes, spec, { values }) => pairCost(sizes, spec, 2, values("segment_start"), keysSeen),
    wgsl: (spec, facts) =>
      ({ lanes: forwardByLanes, wide: forwardWide, shared: forwardShared })[(spec as AttentionSpec).family](
        spec,
        facts,
      ),
  });

const STATS_ROWS = 64;

/** out, dout [rows, headDim], lse [rows], rows = tokens · heads → stats [rows] of (lse, Σ out·dout). Spec: headDim. */
export const attentionStats: Kernel<"rows" | "vectors", "out" | "dout" | "lse", "stats", never> = defineKernel({
  label: "attention_stats",
  params: { rows: "u32", vectors: "u32" },
  reads: { out: headElement, dout: headElement, lse: "f32" },
  writes: { stats: "vec2f" },
  workgroups: ({ rows }) => Math.ceil(rows / STATS_ROWS),
  wgsl: (spec) => /* wgsl */ `
    ${loadHead("out", spec)}
    ${loadHead("dout", spec)}
    @compute @workgroup_size(${STATS_ROWS})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let row = group * ${STATS_ROWS}u + lane;
      if (row >= p.rows) { return; }
      var sum = vec4f();
      for (var v = 0u; v < p.vectors; v++) { sum += load_out(row, v) * load_dout(row, v); }
      stats[row] = vec2f(lse[row], (sum.x + sum.y) + (sum.z + sum.w));
    }`,
});

const BACKWARD_SIZES = {
  tokens: "u32",
  heads: "u32",
  kv_heads: "u32",
  vectors: "u32",
  four: "u32",
  window: "i32",
  scale: "f32",
  cap: "f32",
  gradient_scale: "f32",
} as const;

/**
 * dout like q, stats [tokens, heads] → dq like q. `scale` and `cap` are the forward's; `gradient_scale` is what q·k is multiplied by, without
 * log2(e) and the cap.
 */
export const attentionBackwardQuery: Kernel<
  keyof typeof BACKWARD_SIZES,
  "q" | "k" | "v" | "dout" | "stats" | "segment_start",
  "dq",
  never
> = defineKernel({
  label: "attention_backward_query",
  params: BACKWARD_SIZES,
  reads: { q: headElement, k: headElement, v: headElement, dout: headElement, stats: "vec2f", segment_start: "i32" },
  writes: { dq: headElement },
  workgroups: ({ tokens, heads }, spec, facts) => groups(tokens, heads, spec, facts),
  // scores, gradients of the weights, dq
  cost: (sizes, spec, { values }) => pairCost(sizes, spec, 3, values("segment_start"), keysSeen),
  wgsl: (spec, facts) =>
    ({ lanes: backwardQueryByLanes, wide: backwardQueryWide, shared: backwardQueryShared })[
      (spec as AttentionSpec).family
    ](spec, facts),
});

/**
 * Like {@link attentionBackwardQuery} with segment_end [tokens] (one past the last token of the segment; ≤ the token
 * itself: padding) → dk, dv like k and v.
 */
export const attentionBackwardKeyValue: Kernel<
  keyof typeof BACKWARD_SIZES,
  "q" | "k" | "v" | "dout" | "stats" | "segment_end",
  "dk" | "dv",
  never
> = defineKernel({
  label: "attention_backward_key_value",
  params: BACKWARD_SIZES,
  reads: { q: headElement, k: headElement, v: headElement, dout: headElement, stats: "vec2f", segment_end: "i32" },
  writes: { dk: headElement, dv: headElement },
  workgroups: ({ tokens, kv_heads }, spec, facts) => groups(tokens, kv_heads, spec, facts),
  // scores, gradients of the weights, dv, dk
  cost: (sizes, spec, { values }) => pairCost(sizes, spec, 4, values("segment_end"), queriesSeeing),
  wgsl: (spec, facts) =>
    ({ lanes: backwardKeyValueByLanes, wide: backwardKeyValueWide, shared: backwardKeyValueShared })[
      (spec as AttentionSpec).family
    ](spec, facts),
});

/** `vectors` of the kernels' parameters. */
export function attentionVectors(headDim: number): number {
  return headVectors({ headDim });
}
