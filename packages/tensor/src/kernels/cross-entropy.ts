// Cross-entropy on a chunk of logits, in place: one workgroup owns one row, so every sum runs in a fixed order. The
// rows of a chunk are those that a list names; what lies past the end of the list gives no loss and a gradient of zeros.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel, Spec } from "../kernel.ts";
import type { DeviceFacts } from "../facts.ts";
import { longRowLanes, reduceOverLanes } from "./lanes.ts";

/**
 * WGSL `logit_at(i)`: what the softmax is taken of; with spec softCap that is cap · tanh(logit / cap) (Gemma 2, section 2.2 of
 * https://arxiv.org/abs/2408.00118).
 */
function logitAt({ softCap }: Spec): string {
  return `fn logit_at(i: u32) -> f32 { return ${softCap === true ? "soft_capped(logits[i], p.cap)" : "logits[i]"}; }
    ${softCap === true ? SOFT_CAPPED : ""}`;
}

/** WGSL `soft_capped(x, cap)`; from exp(−2|x|/cap), which never overflows. */
export const SOFT_CAPPED: string = /* wgsl */ `
  fn soft_capped(x: f32, cap: f32) -> f32 {
    let e = exp(-2.0 * abs(x) / cap);
    return cap * sign(x) * ((1.0 - e) / (1.0 + e));
  }`;

/** x [n] → out = cap · tanh(x / cap). */
export const softCapForward: Kernel<"n" | "cap", "x", "out", never> = defineKernel({
  label: "soft_cap",
  params: { n: "u32", cap: "f32" },
  reads: { x: "f32" },
  writes: { out: "f32" },
  inPlace: { out: ["x"] },
  workgroups: ({ n }) => Math.ceil(n / 64),
  wgsl: () => /* wgsl */ `
    ${SOFT_CAPPED}
    @compute @workgroup_size(64)
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let i = group * 64u + lane;
      if (i < p.n) { out[i] = soft_capped(x[i], p.cap); }
    }`,
});

/** WGSL up to `top` (largest logit of row `group`) and `sum` (Σ exp(logit − top) of this lane); `each` may add more. */
function softmaxSums(facts: DeviceFacts, each: string): string {
  const lanes = longRowLanes(facts);
  return /* wgsl */ `
      let start = group * p.vocab;
      var largest = -3.4e38;
      for (var i = lane; i < p.vocab; i += ${lanes}u) { largest = max(largest, logit_at(start + i)); }
      let top = max_over_lanes(lane, largest);
      var sum = 0.0;
      for (var i = lane; i < p.vocab; i += ${lanes}u) {
        let below = logit_at(start + i) - top;
        let e = exp(below);
        sum += e;
        ${each}
      }`;
}

type RowParams = "count" | "vocab" | "first" | "tokens" | "cap";
const ROW_PARAMS = { count: "u32", vocab: "u32", first: "u32", tokens: "u32", cap: "f32" } as const;
type RowReads = "rows" | "targets" | "weights" | "dloss";
const ROW_READS = { rows: "i32", targets: "i32", weights: "f32", dloss: "f32" } as const;

/**
 * logits [count, vocab] of the tokens `rows[first …]`, targets and weights [tokens] → losses[token] = −log p(target).
 * With spec `gradient` the logits become dlogits = dloss · weight · (p − onehot(target)), times the slope of the cap where
 * spec `softCap` has p taken of capped logits. Where the list has no token,
 * or the token no target in [0, vocab), losses keeps what it has and dlogits is 0.
 */
export const crossEntropyRows: Kernel<RowParams, RowReads, never, "logits" | "losses"> = defineKernel({
  label: "cross_entropy",
  params: ROW_PARAMS,
  reads: ROW_READS,
  updates: { logits: "f32", losses: "f32" },
  workgroups: ({ count }) => count,
  wgsl: (spec, facts) => rowLosses(spec, facts, false),
  // a logit is compared, shifted, exponentiated and summed; its gradient takes five more
  cost: ({ count, vocab }, { gradient }) => ({
    flops: (gradient ? 9 : 4) * count * vocab,
    bytes: (gradient ? 8 : 4) * count * vocab,
  }),
});

/**
 * `crossEntropyRows` of the loss with label smoothing ε and z-loss: added[token] is what they add to −log p(target),
 * ε · (logit(target) − mean logit) + z · logsumexp², and dlogits = dloss · weight · ((1 + 2z · logsumexp) · p − (1 − ε) ·
 * onehot(target) − ε / vocab).
 */
export const crossEntropyTermRows: Kernel<
  RowParams | "smoothing" | "z",
  RowReads,
  never,
  "logits" | "losses" | "added"
> = defineKernel({
  label: "cross_entropy_terms",
  params: { ...ROW_PARAMS, smoothing: "f32", z: "f32" },
  reads: ROW_READS,
  updates: { logits: "f32", losses: "f32", added: "f32" },
  workgroups: ({ count }) => count,
  wgsl: (spec, facts) => rowLosses(spec, facts, true),
  cost: ({ count, vocab }, { gradient }) => ({
    flops: (gradient ? 11 : 5) * count * vocab,
    bytes: (gradient ? 8 : 4) * count * vocab,
  }),
});

function rowLosses(spec: Spec, facts: DeviceFacts, terms: boolean): string {
  const lanes = longRowLanes(facts);
  const gradient = spec["gradient"] === true;
  return /* wgsl */ `
    ${logitAt(spec)}
    ${reduceOverLanes(facts, lanes)}
    @compute @workgroup_size(${lanes})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.count) { return; }
      let token = rows[p.first + group];
      ${
        // what stands in such a row was never computed
        gradient
          ? `if (token < 0) {
        for (var i = lane; i < p.vocab; i += ${lanes}u) { logits[group * p.vocab + i] = 0.0; }
        return;
      }`
          : ""
      }
      ${terms ? "var lane_below = 0.0;" : ""}
      ${softmaxSums(facts, terms ? "lane_below += below;" : "")}
      let log_sum = log(sum_over_lanes(lane, sum));
      ${
        terms
          ? `let mean_below = sum_over_lanes(lane, lane_below) / f32(p.vocab);
      let log_partition = top + log_sum;`
          : ""
      }

      var target_id = -1;
      if (token >= 0 && token < i32(p.tokens)) { target_id = targets[token]; }
      let supervised = target_id >= 0 && target_id < i32(p.vocab);
      // the lane that owns the target's column: it reads the logit before it overwrites it
      if (supervised && u32(target_id) % ${lanes}u == lane) {
        let below = logit_at(start + u32(target_id)) - top;
        losses[token] = log_sum - below;
        ${terms ? "added[token] = p.smoothing * (below - mean_below) + p.z * log_partition * log_partition;" : ""}
      }
      ${gradient ? rowGradient(spec, lanes, terms) : ""}
    }`;
}

function rowGradient({ softCap }: Spec, lanes: number, terms: boolean): string {
  return /* wgsl */ `
      var weight = 0.0;
      if (supervised) { weight = weights[token] * dloss[0]; }
      ${
        terms
          ? `let of_share = 1.0 + 2.0 * p.z * log_partition;
      let of_all = p.smoothing / f32(p.vocab);`
          : ""
      }
      for (var i = lane; i < p.vocab; i += ${lanes}u) {
        let logit = logit_at(start + i);
        let share = exp(logit - top - log_sum);
        let slope = ${softCap === true ? "1.0 - (logit / p.cap) * (logit / p.cap)" : "1.0"};
        logits[start + i] = weight * slope * (${
          terms
            ? "of_share * share - of_all - select(0.0, 1.0 - p.smoothing, i32(i) == target_id)"
            : "share - select(0.0, 1.0, i32(i) == target_id)"
        });
      }`;
}

/**
 * logits [count, vocab] of the tokens `first …`, targets [tokens] → for each of them entropy = −Σ p log p and, where the
 * target is in [0, vocab), log_probs = log p(target), both in nats, and correct = 1 where no token is likelier than the
 * target, else 0.
 */
export const tokenScores: Kernel<
  "count" | "vocab" | "first" | "cap",
  "logits" | "targets",
  never,
  "log_probs" | "entropy" | "correct"
> = defineKernel({
  label: "token_scores",
  params: { count: "u32", vocab: "u32", first: "u32", cap: "f32" },
  reads: { logits: "f32", targets: "i32" },
  updates: { log_probs: "f32", entropy: "f32", correct: "f32" },
  workgroups: ({ count }) => count,
  wgsl: (spec, facts) => /* wgsl */ `
    ${logitAt(spec)}
    ${reduceOverLanes(facts, longRowLanes(facts))}
    @compute @workgroup_size(${longRowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.count) { return; }
      var moment = 0.0;
      ${softmaxSums(facts, "moment += e * below;")}
      let total = sum_over_lanes(lane, sum);
      let total_moment = sum_over_lanes(lane, moment);
      if (lane != 0u) { return; }
      let token = p.first + group;
      let target_id = targets[token];
      let log_sum = log(total);
      entropy[token] = log_sum - total_moment / total;
      if (target_id >= 0 && target_id < i32(p.vocab)) {
        let logit = logit_at(start + u32(target_id));
        log_probs[token] = logit - top - log_sum;
        correct[token] = select(0.0, 1.0, logit >= top);
      }
    }`,
  cost: ({ count, vocab }) => ({ flops: 6 * count * vocab, bytes: 4 * count * vocab }),
});

/**
 * rows (a list of tokens, ascending, padded with −1) → args: for each chunk of `chunk_rows` list entries the workgroup
 * counts (x, y, 1) of an indirect dispatch, 256 bytes apart. x is the number of tokens in the chunk divided by `tile`,
 * rounded up; with tile 0 it is `x`, or 0 where the chunk is empty.
 */
export const chunkGroups: Kernel<"count" | "chunks" | "chunk_rows" | "tile" | "x" | "y", "rows", "args", never> =
  defineKernel({
    label: "chunk_groups",
    params: { count: "u32", chunks: "u32", chunk_rows: "u32", tile: "u32", x: "u32", y: "u32" },
    reads: { rows: "i32" },
    writes: { args: "u32" },
    workgroups: ({ chunks }) => Math.ceil(chunks / 64),
    wgsl: () => /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let chunk = group * 64u + lane;
      if (chunk >= p.chunks) { return; }
      // tokens come first: the end of them by halving
      var first = chunk * p.chunk_rows;
      var end = min(first + p.chunk_rows, p.count);
      let start = first;
      while (first < end) {
        let middle = (first + end) / 2u;
        if (rows[middle] >= 0) { first = middle + 1u; } else { end = middle; }
      }
      let tokens = first - start;
      if (p.tile == 0u) { args[chunk * 64u] = select(0u, p.x, tokens > 0u); }
      else { args[chunk * 64u] = (tokens + p.tile - 1u) / p.tile; }
      args[chunk * 64u + 1u] = p.y;
      args[chunk * 64u + 2u] = 1u;
    }`,
  });
