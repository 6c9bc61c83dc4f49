// Attention on software devices for small heads: one lane owns whole rows (queries, or keys in the backward over keys)
// in registers, of several heads and tokens. Tiles of the other side are loaded one row per lane and handed round by shuffles,
// without shared memory or barriers; all rows of a lane share them. Every load instruction costs compile time and every register beyond a few dozen spills, so this is for
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
/** Columns of a tile per pass through the sums in backward: what a loop carries costs a load, a blend and a store each time. */
const STEP = 2;

/** What one lane works on: query heads that share keys, and tokens; together as many rows as registers hold. */
export function rowsPerLane(options: { rows: "queries" | "keys"; headDim: number; group: number }): {
  heads: number;
  tokens: number;
} {
  const { rows, headDim, group } = options;
  if (rows === "keys") return { heads: 1, tokens: headDim <= 8 ? 4 : 2 };
  const most = headDim <= 8 ? 4 : 2;
  const heads = [4, 2, 1].find((n) => n <= most && group % n === 0)!;
  return { heads, tokens: most / heads };
}

/** A row of a lane: its head and its token among those of the lane. */
interface Row {
  readonly name: string;
  readonly head: number;
  readonly token: number;
}

interface Shape {
  readonly lanes: number;
  readonly vectors: number;
  readonly heads: number;
  readonly tokens: number;
  readonly rows: readonly Row[];
}

function shapeOf(spec: Spec, facts: DeviceFacts): Shape {
  const [heads, tokens] = [Number(spec["perLane"]), Number(spec["tokens"])];
  const rows = Array.from({ length: heads * tokens }, (_, i) => ({
    name: `${i}`,
    head: i % heads,
    token: Math.floor(i / heads),
  }));
  return { lanes: rowLanes(facts), vectors: headVectors(spec), heads, tokens, rows };
}

const lines = (texts: readonly string[]): string => texts.join("\n");

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

/** Text in front of the loops; `row` gives what is known of one token. */
function begin(
  spec: Spec,
  { lanes, tokens }: Shape,
  o: { loads: readonly string[]; stores: readonly string[]; row: (at: string, token: number) => string },
): string {
  const all = (f: string, name: string): string =>
    Array.from({ length: tokens }, (_, a) => `${name}${a}`).reduce((x, y) => `${f}(${x}, ${y})`);
  return `
    ${o.loads.map((name) => loadHead(name, spec)).join("\n")}
    ${o.stores.map((name) => storeHead(name, spec)).join("\n")}
    ${softTanh(spec)}
    @diagnostic(off, subgroup_uniformity)
    @compute @workgroup_size(${lanes})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      ${blockAndUnit(lanes * tokens)}
      ${each(tokens, (a) => o.row(`i32(block * ${lanes * tokens}u + ${a * lanes}u + lane)`, a))}
      let range = vec2i(subgroupMin(${all("min", "lower")}), subgroupMax(${all("max", "upper")}));`;
}

/** Forward: see {@link attentionForward} for bindings and parameters. */
export function forwardByLanes(spec: Spec, facts: DeviceFacts): string {
  const shape = shapeOf(spec, facts);
  const { lanes, vectors, heads, tokens } = shape;
  const ofRows = (text: (c: string, row: Row) => string): string => lines(shape.rows.map((row) => text(row.name, row)));
  // keys whose scores are taken before one rescaling of the output
  const step = Math.min(lanes, vectors * shape.rows.length <= 8 ? 8 : 4);
  return /* wgsl */ `
    ${begin(spec, shape, { loads: ["q", "k", "v"], stores: ["out"], row: queryRow })}
      let head = unit * ${heads}u;
      if (head >= p.heads) { return; }
      let kv_head = head / (p.heads / p.kv_heads);
      ${ofRows(
        (c, { head, token }) => `
        let row${c} = token${token} * p.heads + head + ${head}u;
        ${each(vectors, (v) => `let q${c}_${v} = select(vec4f(), load_q(row${c}, ${v}u) * p.scale, here${token});`)}
        ${each(vectors, (v) => `var o${c}_${v} = vec4f();`)}
        var max${c} = -1e30;
        var sum${c} = 0.0;`,
      )}
      for (var first = range.x; first <= range.y; first += ${lanes}) {
        ${loadTile(spec, { arrays: ["k", "v"], row: "t * p.kv_heads + kv_head", kept: QUERY_KEPT })}
        for (var s = 0u; s < ${lanes}u; s += ${step}u) {
          let j = first + i32(s);
          ${each(
            step,
            (u) => `
            ${each(tokens, (a) => `let seen${a}_${u} = j + ${u} >= lower${a} && j + ${u} <= upper${a};`)}
            ${each(vectors, (v) => `let k${u}_${v} = subgroupShuffle(k_${v}, s + ${u}u);`)}
            ${ofRows(
              (c, { token }) => `
              ${dotRows(
                `dot${c}_${u}`,
                vectors,
                (v) => `q${c}_${v}`,
                (v) => `k${u}_${v}`,
              )}
              let score${c}_${u} = select(${UNSEEN}, ${scoreOf(spec, `dot${c}_${u}`)}, seen${token}_${u});`,
            )}`,
          )}
          ${ofRows(
            (c, { token }) => `
            var top${c} = max${c};
            ${each(step, (u) => `top${c} = max(top${c}, score${c}_${u});`)}
            let shrink${c} = exp2(max${c} - top${c});
            max${c} = top${c};
            sum${c} *= shrink${c};
            ${each(vectors, (v) => `o${c}_${v} *= shrink${c};`)}
            ${each(
              step,
              (u) => `let weight${c}_${u} = select(0.0, exp2(score${c}_${u} - top${c}), seen${token}_${u});
              sum${c} += weight${c}_${u};`,
            )}`,
          )}
          ${each(step, (u) =>
            each(
              vectors,
              (v) => `
              let v${u}_${v} = subgroupShuffle(v_${v}, s + ${u}u);
              ${ofRows((c) => `o${c}_${v} += weight${c}_${u} * v${u}_${v};`)}`,
            ),
          )}
        }
      }
      ${ofRows(
        (c, { token }) => `if (u32(own${token}) < p.tokens) {
        let norm = 1.0 / sum${c};
        ${each(vectors, (v) => `store_out(row${c}, ${v}u, select(vec4f(), o${c}_${v} * norm, here${token}));`)}
        lse[row${c}] = select(0.0, max${c} + log2(sum${c}), here${token});
      }`,
      )}
    }`;
}

/** Backward over queries: see {@link attentionBackwardQuery}. */
export function backwardQueryByLanes(spec: Spec, facts: DeviceFacts): string {
  const shape = shapeOf(spec, facts);
  const { lanes, vectors, heads, tokens } = shape;
  const ofRows = (text: (c: string, row: Row) => string): string => lines(shape.rows.map((row) => text(row.name, row)));
  return /* wgsl */ `
    ${begin(spec, shape, { loads: ["q", "k", "v", "dout"], stores: ["dq"], row: queryRow })}
      let head = unit * ${heads}u;
      if (head >= p.heads) { return; }
      let kv_head = head / (p.heads / p.kv_heads);
      ${ofRows(
        (c, { head, token }) => `
        let row${c} = token${token} * p.heads + head + ${head}u;
        ${each(
          vectors,
          (v) => `
          let q${c}_${v} = load_q(row${c}, ${v}u) * p.scale;
          let do${c}_${v} = load_dout(row${c}, ${v}u);
          var dq${c}_${v} = vec4f();`,
        )}
        let stats${c} = stats[row${c}];`,
      )}
      for (var first = range.x; first <= range.y; first += ${lanes}) {
        ${loadTile(spec, { arrays: ["k", "v"], row: "t * p.kv_heads + kv_head", kept: QUERY_KEPT })}
        for (var s = 0u; s < ${lanes}u; s += ${STEP}u) { ${each(
          STEP,
          (u) => `{
          let j = first + i32(s + ${u}u);
          ${each(tokens, (a) => `let seen${a} = j >= lower${a} && j <= upper${a};`)}
          ${each(vectors, (v) => `let key_${v} = subgroupShuffle(k_${v}, s + ${u}u);`)}
          ${each(vectors, (v) => `let value_${v} = subgroupShuffle(v_${v}, s + ${u}u);`)}
          ${ofRows(
            (c, { token }) => `
            ${dotRows(
              `product${c}`,
              vectors,
              (v) => `q${c}_${v}`,
              (v) => `key_${v}`,
            )}
            ${dotRows(
              `dweight${c}`,
              vectors,
              (v) => `do${c}_${v}`,
              (v) => `value_${v}`,
            )}
            let score${c} = ${scoreOf(spec, `product${c}`)};
            let slope${c} = (dweight${c} - stats${c}.y)${scoreSlope(spec, `score${c}`)};
            let dscore${c} = select(0.0, exp2(score${c} - stats${c}.x) * slope${c}, seen${token});
            ${each(vectors, (v) => `dq${c}_${v} += dscore${c} * key_${v};`)}`,
          )}
        }`,
        )} }
      }
      ${ofRows(
        (c, { token }) => `if (u32(own${token}) < p.tokens) {
        ${each(vectors, (v) => `store_dq(row${c}, ${v}u, dq${c}_${v} * p.gradient_scale);`)}
      }`,
      )}
    }`;
}

/** Backward over keys: see {@link attentionBackwardKeyValue}. */
export function backwardKeyValueByLanes(spec: Spec, facts: DeviceFacts): string {
  const shape = shapeOf(spec, facts);
  const { lanes, vectors, tokens } = shape;
  return /* wgsl */ `
    ${begin(spec, shape, { loads: ["q", "k", "v", "dout"], stores: ["dk", "dv"], row: keyRow })}
      if (unit >= p.kv_heads) { return; }
      ${each(
        tokens,
        (c) => `
        let row${c} = token${c} * p.kv_heads + unit;
        ${each(
          vectors,
          (v) => `
          let k${c}_${v} = load_k(row${c}, ${v}u) * p.scale;
          let v${c}_${v} = load_v(row${c}, ${v}u);
          var dk${c}_${v} = vec4f();
          var dv${c}_${v} = vec4f();`,
        )}`,
      )}
      let group_heads = p.heads / p.kv_heads;
      for (var head = unit * group_heads; head < (unit + 1u) * group_heads; head++) {
        for (var first = range.x; first <= range.y; first += ${lanes}) {
          ${loadTile(spec, { arrays: ["q", "dout"], row: "t * p.heads + head", kept: KEY_KEPT })}
          let tile_stats = stats[tile_row];
          for (var s = 0u; s < ${lanes}u; s += ${STEP}u) { ${each(
            STEP,
            (u) => `{
            let i = first + i32(s + ${u}u);
            ${each(vectors, (v) => `let query_${v} = subgroupShuffle(q_${v}, s + ${u}u);`)}
            ${each(vectors, (v) => `let do_${v} = subgroupShuffle(dout_${v}, s + ${u}u);`)}
            let stat = subgroupShuffle(tile_stats, s + ${u}u);
            ${each(
              tokens,
              (c) => `
              let seen${c} = i >= lower${c} && i <= upper${c};
              ${dotRows(
                `product${c}`,
                vectors,
                (v) => `k${c}_${v}`,
                (v) => `query_${v}`,
              )}
              ${dotRows(
                `dweight${c}`,
                vectors,
                (v) => `v${c}_${v}`,
                (v) => `do_${v}`,
              )}
              let score${c} = ${scoreOf(spec, `product${c}`)};
              let weight${c} = select(0.0, exp2(score${c} - stat.x), seen${c});
              let dscore${c} = select(0.0, weight${c} * (dweight${c} - stat.y)${scoreSlope(spec, `score${c}`)}, seen${c});
              ${each(vectors, (v) => `dv${c}_${v} += weight${c} * do_${v};`)}
              ${each(vectors, (v) => `dk${c}_${v} += dscore${c} * query_${v};`)}`,
            )}
          }`,
          )} }
        }
      }
      ${each(
        tokens,
        (c) => `if (u32(own${c}) < p.tokens) {
        ${each(
          vectors,
          (v) => `
          store_dk(row${c}, ${v}u, dk${c}_${v} * p.gradient_scale);
          store_dv(row${c}, ${v}u, dv${c}_${v});`,
        )}
      }`,
      )}
    }`;
}
