import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Kernel } from "../kernel.ts";
import { SOFT_CAPPED } from "./cross-entropy.ts";
import { longRowLanes, reduceOverLanes } from "./lanes.ts";

/**
 * logits and reference [count, vocab] of the tokens `rows[first …]`, weights [tokens] → divergences[token] = KL(q ‖ p) in nats with
 * p = softmax(logits), q = softmax(reference). With spec `gradient` the logits become dloss · weight · (p − q), times the slope
 * of the cap where spec `softCap` has both taken of capped logits. Where the list has no token divergences keeps what it
 * has and the gradient is 0.
 */
export const klRows: Kernel<
  "count" | "vocab" | "first" | "tokens" | "cap",
  "rows" | "weights" | "dloss" | "reference",
  never,
  "logits" | "divergences"
> = defineKernel({
  label: "kl_divergence",
  params: { count: "u32", vocab: "u32", first: "u32", tokens: "u32", cap: "f32" },
  reads: { rows: "i32", weights: "f32", dloss: "f32", reference: "f32" },
  updates: { logits: "f32", divergences: "f32" },
  workgroups: ({ count }) => count,
  wgsl: ({ gradient, softCap }, facts) => {
    const lanes = longRowLanes(facts);
    const capped = (of: string): string => (softCap === true ? `soft_capped(${of}[i], p.cap)` : `${of}[i]`);
    return /* wgsl */ `
    ${softCap === true ? SOFT_CAPPED : ""}
    ${reduceOverLanes(facts, lanes)}
    fn logit_at(i: u32) -> f32 { return ${capped("logits")}; }
    fn reference_at(i: u32) -> f32 { return ${capped("reference")}; }
    @compute @workgroup_size(${lanes})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      if (group >= p.count) { return; }
      let token = rows[p.first + group];
      let start = group * p.vocab;
      if (token < 0 || token >= i32(p.tokens)) {
        // what stands in such a row was never computed
        ${gradient === true ? `for (var i = lane; i < p.vocab; i += ${lanes}u) { logits[start + i] = 0.0; }` : ""}
        return;
      }
      var largest = vec2f(-3.4e38);
      for (var i = lane; i < p.vocab; i += ${lanes}u) {
        largest = max(largest, vec2f(logit_at(start + i), reference_at(start + i)));
      }
      let top = vec2f(max_over_lanes(lane, largest.x), max_over_lanes(lane, largest.y));
      var sum = vec2f(0.0);
      for (var i = lane; i < p.vocab; i += ${lanes}u) {
        sum += exp(vec2f(logit_at(start + i), reference_at(start + i)) - top);
      }
      let log_sums = top + log(vec2f(sum_over_lanes(lane, sum.x), sum_over_lanes(lane, sum.y)));
      let weight = weights[token] * dloss[0];
      var divergence = 0.0;
      for (var i = lane; i < p.vocab; i += ${lanes}u) {
        let logit = logit_at(start + i);
        let logs = vec2f(logit, reference_at(start + i)) - log_sums;
        let share = exp(logs);
        divergence += share.y * (logs.y - logs.x);
        ${
          gradient === true
            ? `let slope = ${softCap === true ? "1.0 - (logit / p.cap) * (logit / p.cap)" : "1.0"};
        logits[start + i] = weight * slope * (share.x - share.y);`
            : ""
        }
      }
      let total = sum_over_lanes(lane, divergence);
      if (lane == 0u) { divergences[token] = total; }
    }`;
  },
  cost: ({ count, vocab }, { gradient }) => ({
    flops: (gradient ? 18 : 14) * count * vocab,
    bytes: (gradient ? 12 : 8) * count * vocab,
  }),
});
