// Attention for GPUs of any vendor. A workgroup of 8 × 8 threads owns a block of 32 rows and goes over tiles of 32
// columns: scores as 4 × 4 blocks per thread, both sides through shared memory 16 numbers of a row at a time; weights
// through shared memory; then the sums over columns, where a thread owns four rows and every eighth vector of them.
// Takes at most 14 KiB of shared memory, of the 16 that every WebGPU device has, and assumes nothing about subgroups.

import { GROUP_INDEX, MAIN_ARGS } from "../../kernel.ts";
import type { Spec } from "../../kernel.ts";
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

/** Rows of a block, and columns of a tile. */
export const SHARED_ROWS = 32;
const THREADS = 64;
/** vectors of a row that are in shared memory at once while scores are taken */
const DEPTH = 4;
/** a piece of 32 rows, `[vector][row]`; two more than rows, so that threads that fill it hit different banks */
const STRIDE = SHARED_ROWS + 2;
const PIECE = DEPTH * STRIDE;

interface Side {
  readonly name: string;
  /** WGSL for the row of token `t` */
  readonly row: string;
}

/** Vectors of a row that one thread owns in the sums. */
function pieces(spec: Spec): number {
  return Math.ceil(headVectors(spec) / 8);
}

function begin(spec: Spec, o: { loads: readonly string[]; stores: readonly string[]; products: number }): string {
  return `
    ${o.loads.map((name) => loadHead(name, spec)).join("\n")}
    ${o.stores.map((name) => storeHead(name, spec)).join("\n")}
    ${softTanh(spec)}
    var<workgroup> pieces: array<vec4f, ${Math.max(2 * o.products * PIECE, SHARED_ROWS * 8)}>;
    // [column][row / 4]
    var<workgroup> weights: array<vec4f, ${SHARED_ROWS * 8}>;
    var<workgroup> first_seen: atomic<i32>;
    var<workgroup> last_seen: atomic<i32>;
    var<workgroup> row_range: array<vec2i, ${SHARED_ROWS}>;
    @compute @workgroup_size(${THREADS})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      ${blockAndUnit(SHARED_ROWS)}
      let across = lane % 8u;
      let down = lane / 8u;
      let origin = block * ${SHARED_ROWS}u;`;
}

/**
 * `range`, the columns that any row of the block sees (uniform, so that loops between them may hold barriers), and
 * `range0` … `range3` of the thread's rows.
 */
function ranges(row: (at: string) => string): string {
  return `
      if (lane == 0u) { atomicStore(&first_seen, 2147483647); atomicStore(&last_seen, -1); }
      workgroupBarrier();
      if (lane < ${SHARED_ROWS}u) {
        ${row("i32(origin + lane)")}
        row_range[lane] = vec2i(lower, upper);
        atomicMin(&first_seen, lower);
        atomicMax(&last_seen, upper);
      }
      let range = vec2i(workgroupUniformLoad(&first_seen), workgroupUniformLoad(&last_seen));
      ${each(4, (i) => `let range${i} = row_range[4u * down + ${i}u];`)}`;
}

/** `<sum>0` … `<sum>3`: dot products of the thread's four rows with the columns across, across + 8, … */
function products(pairs: readonly { sum: string; left: Side; right: Side }[]): string {
  const fill = (at: number, side: Side, first: string): string => `{
          let t = min(${first} + x / ${DEPTH}u, p.tokens - 1u);
          pieces[${at * PIECE}u + (x % ${DEPTH}u) * ${STRIDE}u + x / ${DEPTH}u] =
            select(vec4f(), load_${side.name}(${side.row}, min(d + x % ${DEPTH}u, p.vectors - 1u)), d + x % ${DEPTH}u < p.vectors);
        }`;
  return `
    ${pairs.map(({ sum }) => each(4, (i) => `var ${sum}${i} = vec4f();`)).join("\n")}
    for (var d = 0u; d < p.vectors; d += ${DEPTH}u) {
      workgroupBarrier();
      for (var x = lane; x < ${(SHARED_ROWS * DEPTH) / 4}u * p.four; x += ${THREADS}u) {
        ${pairs.map(({ left, right }, n) => `${fill(2 * n, left, "origin")} ${fill(2 * n + 1, right, "u32(first)")}`).join("\n")}
      }
      workgroupBarrier();
      for (var e = 0u; e < p.four; e++) {
        ${pairs
          .map(
            ({ sum }, n) => `{
          ${each(4, (j) => `let b${j} = pieces[${(2 * n + 1) * PIECE}u + e * ${STRIDE}u + across + ${8 * j}u];`)}
          ${each(
            4,
            (i) => `let a${i} = pieces[${2 * n * PIECE}u + e * ${STRIDE}u + 4u * down + ${i}u];
            ${sum}${i} += vec4f(${[0, 1, 2, 3].map((j) => `dot(a${i}, b${j})`).join(", ")});`,
          )}
        }`,
          )
          .join("\n")}
      }
    }`;
}

/** `seen0` … `seen3`: which of the four columns each of the thread's rows sees. */
const SEEN = `
    let column = vec4i(first + i32(across)) + vec4i(0, 8, 16, 24);
    ${each(4, (i) => `let seen${i} = (column >= vec4i(range${i}.x)) & (column <= vec4i(range${i}.y));`)}`;

/** Puts the thread's 4 × 4 weights `<name>0` … into shared memory. */
function share(name: string): string {
  return each(
    4,
    (j) =>
      `weights[(across + ${8 * j}u) * 8u + down] = vec4f(${[0, 1, 2, 3].map((i) => `${name}${i}[${j}]`).join(", ")});`,
  );
}

/**
 * `<to><row>_<piece> += Σ_columns weights · from`. Columns of padding count as zero, whatever memory holds: their
 * weight is zero, but zero times NaN is not.
 */
function sums(spec: Spec, to: string, from: Side, kept: string): string {
  return each(
    pieces(spec),
    (c) => `
    workgroupBarrier();
    for (var x = lane; x < ${SHARED_ROWS * 2}u * p.four; x += ${THREADS}u) {
      let t = min(u32(first) + x / 8u, p.tokens - 1u);
      pieces[x] = select(vec4f(), load_${from.name}(${from.row}, min(x % 8u + ${8 * c}u, p.vectors - 1u)), ${kept});
    }
    workgroupBarrier();
    for (var s = 0u; s < ${SHARED_ROWS / 4}u * p.four; s++) {
      let x = pieces[s * 8u + across];
      let w = weights[s * 8u + down];
      ${each(4, (i) => `${to}${i}_${c} += w[${i}] * x;`)}
    }`,
  );
}

function zeros(spec: Spec, names: readonly string[]): string {
  return names.map((name) => each(4, (i) => each(pieces(spec), (c) => `var ${name}${i}_${c} = vec4f();`))).join("\n");
}

/** Stores the thread's four rows, which move up so that the store is there once. */
function stores(
  spec: Spec,
  o: { heads: string; outputs: readonly { from: string; to: string; factor: string }[] },
): string {
  const n = pieces(spec);
  return `
    for (var i = 0u; i < p.four && origin + 4u * down + i < p.tokens; i++) {
      let store_row = (origin + 4u * down + i) * ${o.heads} + unit;
      ${o.outputs
        .map(
          ({ from, to, factor }) => `
          ${each(
            n,
            (c) =>
              `if (across + ${8 * c}u < p.vectors) { store_${to}(store_row, across + ${8 * c}u, ${from}0_${c} * ${factor}); }`,
          )}
          ${each(3, (i) => each(n, (c) => `${from}${i}_${c} = ${from}${i + 1}_${c};`))}`,
        )
        .join("\n")}
    }`;
}

const QUERY_ROW = "t * p.heads + unit";
const KEY_ROW = "t * p.kv_heads + kv_head";

/** Forward: see {@link attentionForward} for bindings and parameters. */
export function forwardShared(spec: Spec): string {
  return /* wgsl */ `
    // per row, one number of each of the eight threads that share it
    var<workgroup> partial: array<f32, ${SHARED_ROWS * 8}>;
    ${begin(spec, { loads: ["q", "k", "v"], stores: ["out"], products: 1 })}
      if (unit >= p.heads) { return; }
      let kv_head = unit / (p.heads / p.kv_heads);
      ${ranges(queryRow)}
      ${each(4, (i) => `var max${i} = -1e30; var sum${i} = 0.0;`)}
      ${zeros(spec, ["o"])}
      for (var first = range.x; first <= range.y; first += ${SHARED_ROWS}) {
        ${products([{ sum: "w", left: { name: "q", row: QUERY_ROW }, right: { name: "k", row: KEY_ROW } }])}
        ${SEEN}
        ${each(
          4,
          (i) => `
          w${i} = select(vec4f(${UNSEEN}), ${scoreOf(spec, `w${i} * p.scale`, "4")}, seen${i});
          partial[(4u * down + ${i}u) * 8u + across] = max(max(w${i}.x, w${i}.y), max(w${i}.z, w${i}.w));`,
        )}
        workgroupBarrier();
        ${each(
          4,
          (i) => `
          var top${i} = max${i};
          for (var n = 0u; n < 2u * p.four; n++) { top${i} = max(top${i}, partial[(4u * down + ${i}u) * 8u + n]); }
          let shrink${i} = exp2(max${i} - top${i});
          max${i} = top${i};
          w${i} = select(vec4f(), exp2(w${i} - top${i}), seen${i});
          sum${i} = sum${i} * shrink${i} + ((w${i}.x + w${i}.y) + (w${i}.z + w${i}.w));
          ${each(pieces(spec), (c) => `o${i}_${c} *= shrink${i};`)}`,
        )}
        ${share("w")}
        ${sums(spec, "o", { name: "v", row: KEY_ROW }, QUERY_KEPT)}
      }
      workgroupBarrier();
      ${each(4, (i) => `partial[(4u * down + ${i}u) * 8u + across] = sum${i};`)}
      workgroupBarrier();
      ${each(
        4,
        (i) => `
        sum${i} = 0.0;
        for (var n = 0u; n < 2u * p.four; n++) { sum${i} += partial[(4u * down + ${i}u) * 8u + n]; }`,
      )}
      let sum = vec4f(sum0, sum1, sum2, sum3);
      let none = vec4<bool>(${[0, 1, 2, 3].map((i) => `range${i}.x > range${i}.y`).join(", ")});
      let norm = select(1.0 / sum, vec4f(), none);
      let log_sum = select(vec4f(max0, max1, max2, max3) + log2(sum), vec4f(), none);
      if (across == 0u) {
        for (var i = 0u; i < p.four && origin + 4u * down + i < p.tokens; i++) {
          lse[(origin + 4u * down + i) * p.heads + unit] = log_sum[i];
        }
      }
      ${stores(spec, { heads: "p.heads", outputs: [{ from: "o", to: "out", factor: "norm[i]" }] })}
    }`;
}

/** Backward over queries: see {@link attentionBackwardQuery}. */
export function backwardQueryShared(spec: Spec): string {
  return /* wgsl */ `
    ${begin(spec, { loads: ["q", "k", "v", "dout"], stores: ["dq"], products: 2 })}
      if (unit >= p.heads) { return; }
      let kv_head = unit / (p.heads / p.kv_heads);
      ${ranges(queryRow)}
      ${each(4, (i) => `let stat${i} = stats[min(origin + 4u * down + ${i}u, p.tokens - 1u) * p.heads + unit];`)}
      ${zeros(spec, ["dq"])}
      for (var first = range.x; first <= range.y; first += ${SHARED_ROWS}) {
        ${products([
          { sum: "w", left: { name: "q", row: QUERY_ROW }, right: { name: "k", row: KEY_ROW } },
          { sum: "dw", left: { name: "dout", row: QUERY_ROW }, right: { name: "v", row: KEY_ROW } },
        ])}
        ${SEEN}
        ${each(
          4,
          (i) => `
          w${i} = ${scoreOf(spec, `w${i} * p.scale`, "4")};
          dw${i} = (dw${i} - stat${i}.y)${scoreSlope(spec, `w${i}`)};
          dw${i} = select(vec4f(), exp2(w${i} - stat${i}.x) * dw${i}, seen${i});`,
        )}
        ${share("dw")}
        ${sums(spec, "dq", { name: "k", row: KEY_ROW }, QUERY_KEPT)}
      }
      ${stores(spec, { heads: "p.heads", outputs: [{ from: "dq", to: "dq", factor: "p.gradient_scale" }] })}
    }`;
}

/** Backward over keys: see {@link attentionBackwardKeyValue}. */
export function backwardKeyValueShared(spec: Spec): string {
  const keys = "t * p.kv_heads + unit";
  const queries = "t * p.heads + head";
  return /* wgsl */ `
    ${begin(spec, { loads: ["q", "k", "v", "dout"], stores: ["dk", "dv"], products: 2 })}
      if (unit >= p.kv_heads) { return; }
      ${ranges(keyRow)}
      ${zeros(spec, ["dk", "dv"])}
      let group_heads = p.heads / p.kv_heads;
      for (var head = unit * group_heads; head < (unit + 1u) * group_heads; head++) {
        for (var first = range.x; first <= range.y; first += ${SHARED_ROWS}) {
          ${products([
            { sum: "w", left: { name: "k", row: keys }, right: { name: "q", row: queries } },
            { sum: "dw", left: { name: "v", row: keys }, right: { name: "dout", row: queries } },
          ])}
          ${SEEN}
          ${each(4, (j) => `let stat${j} = stats[min(u32(column[${j}]), p.tokens - 1u) * p.heads + head];`)}
          let lse = vec4f(stat0.x, stat1.x, stat2.x, stat3.x);
          let delta = vec4f(stat0.y, stat1.y, stat2.y, stat3.y);
          ${each(
            4,
            (i) => `
            w${i} = ${scoreOf(spec, `w${i} * p.scale`, "4")};
            dw${i} = (dw${i} - delta)${scoreSlope(spec, `w${i}`)};
            w${i} = select(vec4f(), exp2(w${i} - lse), seen${i});
            dw${i} = select(vec4f(), w${i} * dw${i}, seen${i});`,
          )}
          ${share("w")}
          ${sums(spec, "dv", { name: "dout", row: queries }, KEY_KEPT)}
          workgroupBarrier();
          ${share("dw")}
          ${sums(spec, "dk", { name: "q", row: queries }, KEY_KEPT)}
        }
      }
      ${stores(spec, {
        heads: "p.kv_heads",
        outputs: [
          { from: "dk", to: "dk", factor: "p.gradient_scale" },
          { from: "dv", to: "dv", factor: "1.0" },
        ],
      })}
    }`;
}
