// Attention on software devices for wide heads. A workgroup is one subgroup and owns a block of as many rows as it has
// lanes. Scores of the block against a tile of columns (as many again) are taken with lane = row, both sides coming in
// four numbers at a time: one load instruction each, handed round by shuffles. The sums over columns then run with
// lane = four of the head's numbers. Registers and load instructions (which software Vulkan turns into hundreds of
// machine instructions each) stay few at any width; loops are kept rolled by bounds the compiler cannot know.

import type { DeviceFacts } from "../../facts.ts";
import { GROUP_INDEX, MAIN_ARGS } from "../../kernel.ts";
import type { Spec } from "../../kernel.ts";
import { rowLanes } from "../lanes.ts";
import {
  blockAndUnit,
  each,
  headVectors,
  KEY_KEPT,
  keyRow,
  loadHead,
  QUERY_KEPT,
  queryRow,
  storeHead,
  UNSEEN,
} from "./head.ts";

/** Vectors of a row that one lane owns in the sums. */
function pieces(spec: Spec, facts: DeviceFacts): number {
  return Math.ceil(headVectors(spec) / rowLanes(facts));
}

function begin(spec: Spec, facts: DeviceFacts, o: { loads: readonly string[]; stores: readonly string[] }): string {
  const lanes = rowLanes(facts);
  return `
    ${o.loads.map((name) => loadHead(name, spec)).join("\n")}
    ${o.stores.map((name) => storeHead(name, spec)).join("\n")}
    @diagnostic(off, subgroup_uniformity)
    @compute @workgroup_size(${lanes})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      ${blockAndUnit(lanes)}
      ${each(pieces(spec, facts), (c) => `let part${c} = min(lane + ${c * lanes}u, p.vectors - 1u);`)}`;
}

/** `<sum>0` … : lane = row of the block, number = column of the tile: the dot products of `left` rows and `right` rows. */
function products(lanes: number, pairs: readonly { sum: string; left: string; right: string }[]): string {
  return `
    ${pairs.map(({ sum }) => each(lanes, (s) => `var ${sum}${s} = 0.0;`)).join("\n")}
    for (var d = 0u; d < p.vectors; d++) {
      ${pairs
        .map(
          ({ sum, left, right }) => `
          let ${sum}_left = ${left};
          let ${sum}_right = ${right};
          ${each(
            lanes,
            (s) => `{
              let x = ${sum}_left * subgroupShuffle(${sum}_right, ${s}u);
              ${sum}${s} += (x.x + x.y) + (x.z + x.w);
            }`,
          )}`,
        )
        .join("\n")}
    }`;
}

/**
 * `<to><row>_<piece> += Σ_columns weight · from`, with the weights' lanes = rows and numbers = columns; consumes the
 * weights, which move up so that one copy of the loop's body serves all columns. Columns of padding count as zero,
 * whatever memory holds: their weight is zero, but zero times NaN is not.
 */
function sums(
  spec: Spec,
  facts: DeviceFacts,
  row: string,
  terms: readonly { to: string; weight: string; from: string }[],
): string {
  const lanes = rowLanes(facts);
  const n = pieces(spec, facts);
  return `
    let columns = min(${lanes}u, u32(range.y - first) + 1u);
    for (var s = 0u; s < columns; s++) {
      let t = u32(first) + s;
      let sum_row = ${row};
      let sum_kept = subgroupShuffle(kept, s) != 0u;
      ${terms
        .map(
          ({ to, weight, from }) => `{
          ${each(n, (c) => `let x${c} = select(vec4f(), load_${from}(sum_row, part${c}), sum_kept);`)}
          ${each(
            lanes,
            (r) => `{
              let w = subgroupShuffle(${weight}0, ${r}u);
              ${each(n, (c) => `${to}${r}_${c} += w * x${c};`)}
            }`,
          )}
          ${each(lanes - 1, (r) => `${weight}${r} = ${weight}${r + 1};`)}
        }`,
        )
        .join("\n")}
    }`;
}

/** Stores the rows of the block, which move up so that the store is there once. `factor` may use the row `r`. */
function stores(
  spec: Spec,
  facts: DeviceFacts,
  o: { heads: string; head: string; outputs: readonly { from: string; to: string; factor: string }[] },
): string {
  const lanes = rowLanes(facts);
  const n = pieces(spec, facts);
  return `
    let rows = min(${lanes}u, p.tokens - block * ${lanes}u);
    for (var r = 0u; r < rows; r++) {
      let store_row = (block * ${lanes}u + r) * ${o.heads} + ${o.head};
      ${o.outputs
        .map(
          ({ from, to, factor }) => `
          ${each(
            n,
            (c) =>
              `if (lane + ${c * lanes}u < p.vectors) { store_${to}(store_row, part${c}, ${from}0_${c} * ${factor}); }`,
          )}
          ${each(lanes - 1, (r) => each(n, (c) => `${from}${r}_${c} = ${from}${r + 1}_${c};`))}`,
        )
        .join("\n")}
    }`;
}

function zeros(spec: Spec, facts: DeviceFacts, names: readonly string[]): string {
  return names
    .map((name) => each(rowLanes(facts), (r) => each(pieces(spec, facts), (c) => `var ${name}${r}_${c} = vec4f();`)))
    .join("\n");
}

/** The token whose row a lane loads from the tile. */
function tileRow(row: string, kept: string): string {
  return `
    let t = min(u32(first) + lane, p.tokens - 1u);
    let tile_row = ${row};
    let kept = select(0u, 1u, ${kept});`;
}

/** Forward: see {@link attentionForward} for bindings and parameters. */
export function forwardWide(spec: Spec, facts: DeviceFacts): string {
  const lanes = rowLanes(facts);
  const kvRow = "t * p.kv_heads + kv_head";
  return /* wgsl */ `
    ${begin(spec, facts, { loads: ["q", "k", "v"], stores: ["out"] })}
      if (unit >= p.heads) { return; }
      let kv_head = unit / (p.heads / p.kv_heads);
      ${queryRow(`i32(block * ${lanes}u + lane)`)}
      let range = vec2i(subgroupMin(lower), subgroupMax(upper));
      let row = token * p.heads + unit;
      var max0 = -1e30;
      var sum = 0.0;
      ${zeros(spec, facts, ["o"])}
      for (var first = range.x; first <= range.y; first += ${lanes}) {
        ${tileRow(kvRow, QUERY_KEPT)}
        ${products(lanes, [{ sum: "w", left: "load_q(row, d) * p.scale", right: "load_k(tile_row, d)" }])}
        var top = max0;
        ${each(
          lanes,
          (s) => `
          let seen${s} = first + ${s} >= lower && first + ${s} <= upper;
          w${s} = select(${UNSEEN}, w${s}, seen${s});
          top = max(top, w${s});`,
        )}
        let shrink = exp2(max0 - top);
        max0 = top;
        sum *= shrink;
        ${each(
          lanes,
          (s) => `
          w${s} = select(0.0, exp2(w${s} - top), seen${s});
          sum += w${s};`,
        )}
        ${each(
          lanes,
          (r) => `{
            let x = subgroupShuffle(shrink, ${r}u);
            ${each(pieces(spec, facts), (c) => `o${r}_${c} *= x;`)}
          }`,
        )}
        ${sums(spec, facts, kvRow, [{ to: "o", weight: "w", from: "v" }])}
      }
      let norm = select(0.0, 1.0 / sum, here);
      ${stores(spec, facts, { heads: "p.heads", head: "unit", outputs: [{ from: "o", to: "out", factor: "subgroupShuffle(norm, r)" }] })}
      if (u32(own) < p.tokens) { lse[row] = select(0.0, max0 + log2(sum), here); }
    }`;
}

/** Backward over queries: see {@link attentionBackwardQuery}. */
export function backwardQueryWide(spec: Spec, facts: DeviceFacts): string {
  const lanes = rowLanes(facts);
  const kvRow = "t * p.kv_heads + kv_head";
  return /* wgsl */ `
    ${begin(spec, facts, { loads: ["q", "k", "v", "dout"], stores: ["dq"] })}
      if (unit >= p.heads) { return; }
      let kv_head = unit / (p.heads / p.kv_heads);
      ${queryRow(`i32(block * ${lanes}u + lane)`)}
      let range = vec2i(subgroupMin(lower), subgroupMax(upper));
      let row = token * p.heads + unit;
      let stat = stats[row];
      ${zeros(spec, facts, ["dq"])}
      for (var first = range.x; first <= range.y; first += ${lanes}) {
        ${tileRow(kvRow, QUERY_KEPT)}
        ${products(lanes, [
          { sum: "w", left: "load_q(row, d) * p.scale", right: "load_k(tile_row, d)" },
          { sum: "dw", left: "load_dout(row, d)", right: "load_v(tile_row, d)" },
        ])}
        ${each(
          lanes,
          (s) => `
          let seen${s} = first + ${s} >= lower && first + ${s} <= upper;
          dw${s} = select(0.0, exp2(w${s} - stat.x) * (dw${s} - stat.y), seen${s});`,
        )}
        ${sums(spec, facts, kvRow, [{ to: "dq", weight: "dw", from: "k" }])}
      }
      ${stores(spec, facts, {
        heads: "p.heads",
        head: "unit",
        outputs: [{ from: "dq", to: "dq", factor: "p.gradient_scale" }],
      })}
    }`;
}

/** Backward over keys: see {@link attentionBackwardKeyValue}. */
export function backwardKeyValueWide(spec: Spec, facts: DeviceFacts): string {
  const lanes = rowLanes(facts);
  return /* wgsl */ `
    ${begin(spec, facts, { loads: ["q", "k", "v", "dout"], stores: ["dk", "dv"] })}
      if (unit >= p.kv_heads) { return; }
      ${keyRow(`i32(block * ${lanes}u + lane)`)}
      let range = vec2i(subgroupMin(lower), subgroupMax(upper));
      let row = token * p.kv_heads + unit;
      ${zeros(spec, facts, ["dk", "dv"])}
      let group_heads = p.heads / p.kv_heads;
      for (var head = unit * group_heads; head < (unit + 1u) * group_heads; head++) {
        for (var first = range.x; first <= range.y; first += ${lanes}) {
          ${tileRow("t * p.heads + head", KEY_KEPT)}
          let tile_stats = stats[tile_row];
          ${products(lanes, [
            { sum: "w", left: "load_k(row, d) * p.scale", right: "load_q(tile_row, d)" },
            { sum: "dw", left: "load_v(row, d)", right: "load_dout(tile_row, d)" },
          ])}
          ${each(
            lanes,
            (s) => `
            let seen${s} = first + ${s} >= lower && first + ${s} <= upper;
            let stat${s} = subgroupShuffle(tile_stats, ${s}u);
            w${s} = select(0.0, exp2(w${s} - stat${s}.x), seen${s});
            dw${s} = select(0.0, w${s} * (dw${s} - stat${s}.y), seen${s});`,
          )}
          ${sums(spec, facts, "t * p.heads + head", [
            { to: "dv", weight: "w", from: "dout" },
            { to: "dk", weight: "dw", from: "q" },
          ])}
        }
      }
      ${stores(spec, facts, {
        heads: "p.kv_heads",
        head: "unit",
        outputs: [
          { from: "dk", to: "dk", factor: "p.gradient_scale" },
          { from: "dv", to: "dv", factor: "1.0" },
        ],
      })}
    }`;
}
