// Attention on software devices for small heads: one lane owns whole rows (queries, or keys in the backward over keys)
// in registers. Tiles of the other side are loaded one row per lane and handed round by shuffles, without shared memory
// or barriers. Every load instruction costs compile time and every register beyond a few dozen spills, so this is for
// rows of at most MAX_LANE_DIM numbers.

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
  scoreOf,
  scoreSlope,
  softTanh,
  storeHead,
  UNSEEN,
} from "./head.ts";

export const MAX_LANE_DIM = 16;

/** Query heads that one lane works on: they share keys, which spares loads and shuffles. */
export function headsPerLane(options: { headDim: number; group: number }): number {
  const most = options.headDim <= 8 ? 4 : 2;
  return [4, 2, 1].find((n) => n <= most && options.group % n === 0)!;
}

/** Dot product of two rows given vector by vector; four partial sums, for four independent chains of additions. */
function dotRows(name: string, vectors: number, a: (v: number) => string, b: (v: number) => string): string {
  return `var ${name}_sum = ${a(0)} * ${b(0)};
    ${each(vectors - 1, (v) => `${name}_sum += ${a(v + 1)} * ${b(v + 1)};`)}
    let ${name} = (${name}_sum.x + ${name}_sum.y) + (${name}_sum.z + ${name}_sum.w);`;
}

/**
 * Statements that load the tile of tokens from `first` on, one row per lane. Rows of padding become zero, whatever
 * memory holds: their weight is zero, but zero times NaN is not.
 */
function loadTile(spec: Spec, tile: { arrays: readonly string[]; row: string; kept: string }): string {
  return `
    let t = min(u32(first) + lane, p.tokens - 1u);
    let kept = ${tile.kept};
    let tile_row = ${tile.row};
    ${tile.arrays
      .map((name) =>
        each(headVectors(spec), (v) => `let ${name}_${v} = select(vec4f(), load_${name}(tile_row, ${v}u), kept);`),
      )
      .join("\n")}`;
}

/** Text in front of the loops. */
function begin(spec: Spec, facts: DeviceFacts, o: { loads: readonly string[]; stores: readonly string[] }): string {
  return `
    ${o.loads.map((name) => loadHead(name, spec)).join("\n")}
    ${o.stores.map((name) => storeHead(name, spec)).join("\n")}
    ${softTanh(spec)}
    @diagnostic(off, subgroup_uniformity)
    @compute @workgroup_size(${rowLanes(facts)})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      ${blockAndUnit(rowLanes(facts))}`;
}

/** Forward: see {@link attentionForward} for bindings and parameters. */
export function forwardByLanes(spec: Spec, facts: DeviceFacts): string {
  const heads = Number(spec["perLane"]);
  const lanes = rowLanes(facts);
  const vectors = headVectors(spec);
  // keys whose scores are taken before one rescaling of the output
  const step = Math.min(lanes, vectors * heads <= 8 ? 8 : 4);
  return /* wgsl */ `
    ${begin(spec, facts, { loads: ["q", "k", "v"], stores: ["out"] })}
      let head = unit * ${heads}u;
      if (head >= p.heads) { return; }
      let kv_head = head / (p.heads / p.kv_heads);
      ${queryRow(`i32(block * ${lanes}u + lane)`)}
      let range = vec2i(subgroupMin(lower), subgroupMax(upper));
      let row = token * p.heads + head;
      ${each(
        heads,
        (h) => `
        ${each(vectors, (v) => `let q${h}_${v} = select(vec4f(), load_q(row + ${h}u, ${v}u) * p.scale, here);`)}
        ${each(vectors, (v) => `var o${h}_${v} = vec4f();`)}
        var max${h} = -1e30;
        var sum${h} = 0.0;`,
      )}
      for (var first = range.x; first <= range.y; first += ${lanes}) {
        ${loadTile(spec, { arrays: ["k", "v"], row: "t * p.kv_heads + kv_head", kept: QUERY_KEPT })}
        for (var s = 0u; s < ${lanes}u; s += ${step}u) {
          let j = first + i32(s);
          ${each(
            step,
            (u) => `
            let seen${u} = j + ${u} >= lower && j + ${u} <= upper;
            ${each(vectors, (v) => `let k${u}_${v} = subgroupShuffle(k_${v}, s + ${u}u);`)}
            ${each(
              heads,
              (h) => `
              ${dotRows(
                `dot${h}_${u}`,
                vectors,
                (v) => `q${h}_${v}`,
                (v) => `k${u}_${v}`,
              )}
              let score${h}_${u} = select(${UNSEEN}, ${scoreOf(spec, `dot${h}_${u}`)}, seen${u});`,
            )}`,
          )}
          ${each(
            heads,
            (h) => `
            var top${h} = max${h};
            ${each(step, (u) => `top${h} = max(top${h}, score${h}_${u});`)}
            let shrink${h} = exp2(max${h} - top${h});
            max${h} = top${h};
            sum${h} *= shrink${h};
            ${each(vectors, (v) => `o${h}_${v} *= shrink${h};`)}
            ${each(
              step,
              (u) => `let weight${h}_${u} = select(0.0, exp2(score${h}_${u} - top${h}), seen${u});
              sum${h} += weight${h}_${u};`,
            )}`,
          )}
          ${each(step, (u) =>
            each(
              vectors,
              (v) => `
              let v${u}_${v} = subgroupShuffle(v_${v}, s + ${u}u);
              ${each(heads, (h) => `o${h}_${v} += weight${h}_${u} * v${u}_${v};`)}`,
            ),
          )}
        }
      }
      if (u32(own) >= p.tokens) { return; }
      ${each(
        heads,
        (h) => `
        let norm${h} = 1.0 / sum${h};
        ${each(vectors, (v) => `store_out(row + ${h}u, ${v}u, select(vec4f(), o${h}_${v} * norm${h}, here));`)}
        lse[row + ${h}u] = select(0.0, max${h} + log2(sum${h}), here);`,
      )}
    }`;
}

/** Backward over queries: see {@link attentionBackwardQuery}. */
export function backwardQueryByLanes(spec: Spec, facts: DeviceFacts): string {
  const heads = Number(spec["perLane"]);
  const lanes = rowLanes(facts);
  const vectors = headVectors(spec);
  return /* wgsl */ `
    ${begin(spec, facts, { loads: ["q", "k", "v", "dout"], stores: ["dq"] })}
      let head = unit * ${heads}u;
      if (head >= p.heads) { return; }
      let kv_head = head / (p.heads / p.kv_heads);
      ${queryRow(`i32(block * ${lanes}u + lane)`)}
      let range = vec2i(subgroupMin(lower), subgroupMax(upper));
      let row = token * p.heads + head;
      ${each(
        heads,
        (h) => `
        ${each(
          vectors,
          (v) => `
          let q${h}_${v} = load_q(row + ${h}u, ${v}u) * p.scale;
          let do${h}_${v} = load_dout(row + ${h}u, ${v}u);
          var dq${h}_${v} = vec4f();`,
        )}
        let stats${h} = stats[row + ${h}u];`,
      )}
      for (var first = range.x; first <= range.y; first += ${lanes}) {
        ${loadTile(spec, { arrays: ["k", "v"], row: "t * p.kv_heads + kv_head", kept: QUERY_KEPT })}
        for (var s = 0u; s < ${lanes}u; s++) {
          let j = first + i32(s);
          let seen = j >= lower && j <= upper;
          ${each(vectors, (v) => `let key_${v} = subgroupShuffle(k_${v}, s);`)}
          ${each(vectors, (v) => `let value_${v} = subgroupShuffle(v_${v}, s);`)}
          ${each(
            heads,
            (h) => `
            ${dotRows(
              `product${h}`,
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
            let score${h} = ${scoreOf(spec, `product${h}`)};
            let slope${h} = (dweight${h} - stats${h}.y)${scoreSlope(spec, `score${h}`)};
            let dscore${h} = select(0.0, exp2(score${h} - stats${h}.x) * slope${h}, seen);
            ${each(vectors, (v) => `dq${h}_${v} += dscore${h} * key_${v};`)}`,
          )}
        }
      }
      if (u32(own) >= p.tokens) { return; }
      ${each(heads, (h) => each(vectors, (v) => `store_dq(row + ${h}u, ${v}u, dq${h}_${v} * p.gradient_scale);`))}
    }`;
}

/** Backward over keys: see {@link attentionBackwardKeyValue}. */
export function backwardKeyValueByLanes(spec: Spec, facts: DeviceFacts): string {
  const lanes = rowLanes(facts);
  const vectors = headVectors(spec);
  return /* wgsl */ `
    ${begin(spec, facts, { loads: ["q", "k", "v", "dout"], stores: ["dk", "dv"] })}
      if (unit >= p.kv_heads) { return; }
      ${keyRow(`i32(block * ${lanes}u + lane)`)}
      let range = vec2i(subgroupMin(lower), subgroupMax(upper));
      let row = token * p.kv_heads + unit;
      ${each(
        vectors,
        (v) => `
        let k_${v} = load_k(row, ${v}u) * p.scale;
        let v_${v} = load_v(row, ${v}u);
        var dk_${v} = vec4f();
        var dv_${v} = vec4f();`,
      )}
      let group_heads = p.heads / p.kv_heads;
      for (var head = unit * group_heads; head < (unit + 1u) * group_heads; head++) {
        for (var first = range.x; first <= range.y; first += ${lanes}) {
          ${loadTile(spec, { arrays: ["q", "dout"], row: "t * p.heads + head", kept: KEY_KEPT })}
          let tile_stats = stats[tile_row];
          for (var s = 0u; s < ${lanes}u; s++) {
            let i = first + i32(s);
            let seen = i >= lower && i <= upper;
            ${each(vectors, (v) => `let query_${v} = subgroupShuffle(q_${v}, s);`)}
            ${each(vectors, (v) => `let do_${v} = subgroupShuffle(dout_${v}, s);`)}
            let stat = subgroupShuffle(tile_stats, s);
            ${dotRows(
              "product",
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
            let score = ${scoreOf(spec, "product")};
            let weight = select(0.0, exp2(score - stat.x), seen);
            let dscore = select(0.0, weight * (dweight - stat.y)${scoreSlope(spec, "score")}, seen);
            ${each(vectors, (v) => `dv_${v} += weight * do_${v};`)}
            ${each(vectors, (v) => `dk_${v} += dscore * query_${v};`)}
          }
        }
      }
      if (u32(own) >= p.tokens) { return; }
      ${each(
        vectors,
        (v) => `
        store_dk(row, ${v}u, dk_${v} * p.gradient_scale);
        store_dv(row, ${v}u, dv_${v});`,
      )}
    }`;
}
