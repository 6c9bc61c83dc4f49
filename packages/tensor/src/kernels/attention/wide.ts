// Attention on software devices for wide heads. A workgroup is one subgroup and owns a block of one or two rows per lane.
// Scores of the block against a tile of columns (as many as lanes) are taken with lane = row, both sides coming in four
// numbers at a time and the columns handed round by shuffles. The sums over columns then run with lane = four of the
// head's numbers. Registers and load instructions (which software Vulkan turns into hundreds of machine instructions
// each) stay few at any width; loops are kept rolled by bounds the compiler cannot know.

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

/** vectors of sums that a lane can hold before they spill */
const MOST_SUMS = 32;

/**
 * Rows of a block per lane: two share each load of the other side, while their sums fit the registers.
 * @param options.outputs - sums per row: two in the backward over keys
 */
export function tokensPerLane(facts: DeviceFacts, options: { headDim: number; outputs: number }): number {
  const sums = pieces(options, facts) * rowLanes(facts) * options.outputs;
  return 2 * sums <= MOST_SUMS ? 2 : 1;
}

/** Vectors of a row that one lane owns in the sums. */
function pieces(spec: Spec, facts: DeviceFacts): number {
  return Math.ceil(headVectors(spec) / rowLanes(facts));
}

/** What the texts below are written from: numbers of lanes, of rows per lane, and of vectors per lane in the sums. */
interface Shape {
  readonly lanes: number;
  readonly sets: number;
  readonly parts: number;
}

function shapeOf(spec: Spec, facts: DeviceFacts): Shape {
  return { lanes: rowLanes(facts), sets: Number(spec["perLane"]), parts: pieces(spec, facts) };
}

/** Text in front of the loops over tiles; `row` gives what is known of one row. */
function begin(
  spec: Spec,
  { lanes, sets, parts }: Shape,
  o: { loads: readonly string[]; stores: readonly string[]; heads: string; row: (at: string, set: number) => string },
): string {
  const all = (f: string, name: string): string =>
    Array.from({ length: sets }, (_, a) => `${name}${a}`).reduce((x, y) => `${f}(${x}, ${y})`);
  return `
    ${o.loads.map((name) => loadHead(name, spec)).join("\n")}
    ${o.stores.map((name) => storeHead(name, spec)).join("\n")}
    ${softTanh(spec)}
    @diagnostic(off, subgroup_uniformity)
    @compute @workgroup_size(${lanes})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      ${blockAndUnit(lanes * sets)}
      if (unit >= ${o.heads}) { return; }
      let origin = block * ${lanes * sets}u;
      ${each(sets, (a) => o.row(`i32(origin + ${a * lanes}u + lane)`, a))}
      let range = vec2i(subgroupMin(${all("min", "lower")}), subgroupMax(${all("max", "upper")}));
      ${each(sets, (a) => `let row${a} = token${a} * ${o.heads} + unit;`)}
      ${each(parts, (c) => `let part${c} = min(lane + ${c * lanes}u, p.vectors - 1u);`)}`;
}

/**
 * `<sum><set>_<column>`: the dot products of `left` rows (of the block, lane = row) and `right` rows (of the tile, lane =
 * column). `left` is given per set.
 */
function products(
  { lanes, sets }: Shape,
  pairs: readonly { sum: string; left: (set: number) => string; right: string }[],
): string {
  return `
    ${pairs.map(({ sum }) => each(sets, (a) => each(lanes, (s) => `var ${sum}${a}_${s} = 0.0;`))).join("\n")}
    for (var d = 0u; d < p.vectors; d++) {
      ${pairs
        .map(
          ({ sum, left, right }) => `
          ${each(sets, (a) => `let ${sum}_left${a} = ${left(a)};`)}
          let ${sum}_right = ${right};
          ${each(
            lanes,
            (s) => `{
              let x = subgroupShuffle(${sum}_right, ${s}u);
              ${each(
                sets,
                (a) => `let y${a} = ${sum}_left${a} * x; ${sum}${a}_${s} += (y${a}.x + y${a}.y) + (y${a}.z + y${a}.w);`,
              )}
            }`,
          )}`,
        )
        .join("\n")}
    }`;
}

/**
 * `<to><row>_<part> += Σ_columns weight · from`, with weights named like products; consumes the weights, which move up
 * so that one copy of the loop's body serves all columns. Columns of padding count as zero, whatever memory holds:
 * their weight is zero, but zero times NaN is not.
 */
function sums(
  { lanes, sets, parts }: Shape,
  row: string,
  terms: readonly { to: string; weight: string; from: string }[],
): string {
  return `
    let columns = min(${lanes}u, u32(range.y - first) + 1u);
    for (var s = 0u; s < columns; s++) {
      let t = u32(first) + s;
      let sum_row = ${row};
      let sum_kept = subgroupShuffle(kept, s) != 0u;
      ${terms
        .map(
          ({ to, weight, from }) => `{
          ${each(parts, (c) => `let x${c} = select(vec4f(), load_${from}(sum_row, part${c}), sum_kept);`)}
          ${each(sets, (a) =>
            each(
              lanes,
              (r) => `{
              let w = subgroupShuffle(${weight}${a}_0, ${r}u);
              ${each(parts, (c) => `${to}${a * lanes + r}_${c} += w * x${c};`)}
            }`,
            ),
          )}
          ${each(sets, (a) => each(lanes - 1, (r) => `${weight}${a}_${r} = ${weight}${a}_${r + 1};`))}
        }`,
        )
        .join("\n")}
    }`;
}

/** Stores the rows of the block, which move up so that the store is there once. `factor` may use the row `r`. */
function stores(
  { lanes, sets, parts }: Shape,
  o: { heads: string; outputs: readonly { from: string; to: string; factor: string }[] },
): string {
  return `
    let rows = min(${lanes * sets}u, p.tokens - origin);
    for (var r = 0u; r < rows; r++) {
      let store_row = (origin + r) * ${o.heads} + unit;
      ${o.outputs
        .map(
          ({ from, to, factor }) => `
          let ${to}_factor = ${factor};
          ${each(
            parts,
            (c) =>
              `if (lane + ${c * lanes}u < p.vectors) { store_${to}(store_row, part${c}, ${from}0_${c} * ${to}_factor); }`,
          )}
          ${each(lanes * sets - 1, (r) => each(parts, (c) => `${from}${r}_${c} = ${from}${r + 1}_${c};`))}`,
        )
        .join("\n")}
    }`;
}

function zeros({ lanes, sets, parts }: Shape, names: readonly string[]): string {
  return names
    .map((name) => each(lanes * sets, (r) => each(parts, (c) => `var ${name}${r}_${c} = vec4f();`)))
    .join("\n");
}

/** The token whose row a lane loads from the tile. */
function tileRow(row: string, kept: string): string {
  return `
    let t = min(u32(first) + lane, p.tokens - 1u);
    let tile_row = ${row};
    let kept = select(0u, 1u, ${kept});`;
}

/** Whether each row of the block sees each column of the tile. */
function seen({ lanes, sets }: Shape): string {
  return each(sets, (a) =>
    each(lanes, (s) => `let seen${a}_${s} = first + ${s} >= lower${a} && first + ${s} <= upper${a};`),
  );
}

const QUERIES = { heads: "p.heads", row: queryRow };
const KEYS = { heads: "p.kv_heads", row: keyRow };
const KEY_HEAD = "let kv_head = unit / (p.heads / p.kv_heads);";
const KEY_OF_TOKEN = "t * p.kv_heads + kv_head";
const QUERY_OF_TOKEN = "t * p.heads + head";

/** Forward: see {@link attentionForward} for bindings and parameters. */
export function forwardWide(spec: Spec, facts: DeviceFacts): string {
  const shape = shapeOf(spec, facts);
  const { lanes, sets, parts } = shape;
  return /* wgsl */ `
    ${begin(spec, shape, { loads: ["q", "k", "v"], stores: ["out"], ...QUERIES })}
      ${KEY_HEAD}
      ${each(sets, (a) => `var max${a} = -1e30; var sum${a} = 0.0;`)}
      ${zeros(shape, ["o"])}
      for (var first = range.x; first <= range.y; first += ${lanes}) {
        ${tileRow(KEY_OF_TOKEN, QUERY_KEPT)}
        ${products(shape, [{ sum: "w", left: (a) => `load_q(row${a}, d) * p.scale`, right: "load_k(tile_row, d)" }])}
        ${seen(shape)}
        ${each(
          sets,
          (a) => `
          var top${a} = max${a};
          ${each(
            lanes,
            (s) => `
            w${a}_${s} = select(${UNSEEN}, ${scoreOf(spec, `w${a}_${s}`)}, seen${a}_${s});
            top${a} = max(top${a}, w${a}_${s});`,
          )}
          let shrink${a} = exp2(max${a} - top${a});
          max${a} = top${a};
          sum${a} *= shrink${a};
          ${each(
            lanes,
            (s) => `
            w${a}_${s} = select(0.0, exp2(w${a}_${s} - top${a}), seen${a}_${s});
            sum${a} += w${a}_${s};`,
          )}
          ${each(
            lanes,
            (r) => `{
              let x = subgroupShuffle(shrink${a}, ${r}u);
              ${each(parts, (c) => `o${a * lanes + r}_${c} *= x;`)}
            }`,
          )}`,
        )}
        ${sums(shape, KEY_OF_TOKEN, [{ to: "o", weight: "w", from: "v" }])}
      }
      ${each(
        sets,
        (a) => `
        var norm${a} = select(0.0, 1.0 / sum${a}, here${a});
        if (u32(own${a}) < p.tokens) { lse[row${a}] = select(0.0, max${a} + log2(sum${a}), here${a}); }`,
      )}
      ${stores(shape, {
        heads: "p.heads",
        outputs: [
          {
            from: "o",
            to: "out",
            factor:
              sets === 1
                ? "subgroupShuffle(norm0, r)"
                : `subgroupShuffle(select(norm0, norm1, r >= ${lanes}u), r % ${lanes}u)`,
          },
        ],
      })}
    }`;
}

/** Backward over queries: see {@link attentionBackwardQuery}. */
export function backwardQueryWide(spec: Spec, facts: DeviceFacts): string {
  const shape = shapeOf(spec, facts);
  const { lanes, sets } = shape;
  return /* wgsl */ `
    ${begin(spec, shape, { loads: ["q", "k", "v", "dout"], stores: ["dq"], ...QUERIES })}
      ${KEY_HEAD}
      ${each(sets, (a) => `let stat${a} = stats[row${a}];`)}
      ${zeros(shape, ["dq"])}
      for (var first = range.x; first <= range.y; first += ${lanes}) {
        ${tileRow(KEY_OF_TOKEN, QUERY_KEPT)}
        ${products(shape, [
          { sum: "w", left: (a) => `load_q(row${a}, d) * p.scale`, right: "load_k(tile_row, d)" },
          { sum: "dw", left: (a) => `load_dout(row${a}, d)`, right: "load_v(tile_row, d)" },
        ])}
        ${seen(shape)}
        ${each(sets, (a) =>
          each(
            lanes,
            (s) => `
              w${a}_${s} = ${scoreOf(spec, `w${a}_${s}`)};
              dw${a}_${s} = (dw${a}_${s} - stat${a}.y)${scoreSlope(spec, `w${a}_${s}`)};
              dw${a}_${s} = select(0.0, exp2(w${a}_${s} - stat${a}.x) * dw${a}_${s}, seen${a}_${s});`,
          ),
        )}
        ${sums(shape, KEY_OF_TOKEN, [{ to: "dq", weight: "dw", from: "k" }])}
      }
      ${stores(shape, { heads: "p.heads", outputs: [{ from: "dq", to: "dq", factor: "p.gradient_scale" }] })}
    }`;
}

/** Backward over keys: see {@link attentionBackwardKeyValue}. */
export function backwardKeyValueWide(spec: Spec, facts: DeviceFacts): string {
  const shape = shapeOf(spec, facts);
  const { lanes, sets } = shape;
  return /* wgsl */ `
    ${begin(spec, shape, { loads: ["q", "k", "v", "dout"], stores: ["dk", "dv"], ...KEYS })}
      ${zeros(shape, ["dk", "dv"])}
      let group_heads = p.heads / p.kv_heads;
      for (var head = unit * group_heads; head < (unit + 1u) * group_heads; head++) {
        for (var first = range.x; first <= range.y; first += ${lanes}) {
          ${tileRow(QUERY_OF_TOKEN, KEY_KEPT)}
          let tile_stats = stats[tile_row];
          ${products(shape, [
            { sum: "w", left: (a) => `load_k(row${a}, d) * p.scale`, right: "load_q(tile_row, d)" },
            { sum: "dw", left: (a) => `load_v(row${a}, d)`, right: "load_dout(tile_row, d)" },
          ])}
          ${seen(shape)}
          ${each(
            lanes,
            (s) => `
            let stat${s} = subgroupShuffle(tile_stats, ${s}u);
            ${each(
              sets,
              (a) => `
              w${a}_${s} = ${scoreOf(spec, `w${a}_${s}`)};
              dw${a}_${s} = (dw${a}_${s} - stat${s}.y)${scoreSlope(spec, `w${a}_${s}`)};
              w${a}_${s} = select(0.0, exp2(w${a}_${s} - stat${s}.x), seen${a}_${s});
              dw${a}_${s} = select(0.0, w${a}_${s} * dw${a}_${s}, seen${a}_${s});`,
            )}`,
          )}
          ${sums(shape, QUERY_OF_TOKEN, [
            { to: "dv", weight: "w", from: "dout" },
            { to: "dk", weight: "dw", from: "q" },
          ])}
        }
      }
      ${stores(shape, {
        heads: "p.kv_heads",
        outputs: [
          { from: "dk", to: "dk", factor: "p.gradient_scale" },
          { from: "dv", to: "dv", factor: "1.0" },
        ],
      })}
    }`;
}
