// What the attention kernels share. One lane owns whole rows (a query or a key of one head) in registers; the rows of
// the other side come in tiles of which every lane needs every row. Where a workgroup is one subgroup of known size
// (software Vulkan) each lane loads one row of the tile and passes it on by shuffles, without shared memory or
// barriers, which are what llvmpipe is slow at. Elsewhere the tile lies in shared memory.

import type { DeviceFacts } from "../facts.ts";
import type { Element, Spec } from "../kernel.ts";
import { fixedSubgroup, rowLanes } from "./lanes.ts";

/** Largest supported head: its rows must fit the registers of a lane, if only by spilling. */
export const MAX_HEAD_DIM = 256;
/** bytes of shared memory that tiles may take, of the 16 KiB that every WebGPU device has */
const TILE_BYTES = 12 * 1024;

/** Vectors of four that hold one head's row; the last one may be padded with zeros. */
export function headVectors(spec: Spec): number {
  return Math.ceil(Number(spec["headDim"]) / 4);
}

/** Element of a binding whose rows are heads: vectors where rows start at multiples of 16 bytes. */
export function headElement(spec: Spec): Element {
  return Number(spec["headDim"]) % 4 === 0 ? "vec4f" : "f32";
}

/** Joins what `write` gives for 0 … n−1. */
export function each(n: number, write: (i: number) => string): string {
  return Array.from({ length: n }, (_, i) => write(i)).join("\n");
}

/** WGSL `fn load_<name>(row, v) -> vec4f`: vector v of a row of `headDim` numbers, zeros beyond its end. */
export function loadHead(name: string, spec: Spec): string {
  const dim = Number(spec["headDim"]);
  const body =
    headElement(spec) === "vec4f"
      ? `return ${name}[row * ${dim / 4}u + part];`
      : `let at = row * ${dim}u + part * 4u;
         var r = vec4f(${name}[at], 0.0, 0.0, 0.0);
         if (part * 4u + 1u < ${dim}u) { r.y = ${name}[at + 1u]; }
         if (part * 4u + 2u < ${dim}u) { r.z = ${name}[at + 2u]; }
         if (part * 4u + 3u < ${dim}u) { r.w = ${name}[at + 3u]; }
         return r;`;
  return `fn load_${name}(row: u32, part: u32) -> vec4f { ${body} }`;
}

/** WGSL `fn store_<name>(row, v, value)`, the counterpart of {@link loadHead}. */
export function storeHead(name: string, spec: Spec): string {
  const dim = Number(spec["headDim"]);
  const body =
    headElement(spec) === "vec4f"
      ? `${name}[row * ${dim / 4}u + part] = value;`
      : `let at = row * ${dim}u + part * 4u;
         ${name}[at] = value.x;
         if (part * 4u + 1u < ${dim}u) { ${name}[at + 1u] = value.y; }
         if (part * 4u + 2u < ${dim}u) { ${name}[at + 2u] = value.z; }
         if (part * 4u + 3u < ${dim}u) { ${name}[at + 3u] = value.w; }`;
  return `fn store_${name}(row: u32, part: u32, value: vec4f) { ${body} }`;
}

/** Dot product of two rows given vector by vector; four partial sums, for four independent chains of additions. */
export function dotRows(name: string, vectors: number, a: (v: number) => string, b: (v: number) => string): string {
  return `var ${name}_sum = ${a(0)} * ${b(0)};
    ${each(vectors - 1, (v) => `${name}_sum += ${a(v + 1)} * ${b(v + 1)};`)}
    let ${name} = (${name}_sum.x + ${name}_sum.y) + (${name}_sum.z + ${name}_sum.w);`;
}

export interface Tile {
  /** rows it holds */
  readonly rows: number;
  /** module-scope WGSL */
  readonly declarations: string;
  /**
   * Statements that fill the tile from token `first` (i32, ≥ 0) on. A row whose token is outside [0, tokens) or fails
   * `kept` becomes zero, whatever its memory holds: rows of padding may be anything, NaN included.
   */
  load(first: string): string;
  /** vector v of the row `s` (u32, the same on all lanes) of an array */
  row(name: string, v: number, s: string): string;
  /** the pair of numbers of row `s` */
  pair(name: string, s: string): string;
}

/**
 * @param arrays - bindings with a row per (token, head), read through `load_<name>`
 * @param pairs - bindings of vec2f with one element per (token, head)
 * @param row - WGSL for the row of token `t`
 * @param kept - WGSL for whether token `t` takes part
 */
export function defineTile(
  facts: DeviceFacts,
  spec: Spec,
  tile: { arrays: readonly string[]; pairs?: readonly string[]; row: string; kept: string },
): Tile {
  const vectors = headVectors(spec);
  const lanes = rowLanes(facts);
  const { arrays, pairs = [] } = tile;
  if (fixedSubgroup(facts)) {
    return {
      rows: lanes,
      declarations: "",
      load: (first) => `
        let tile_token = u32(${first}) + lane;
        let t = min(tile_token, p.tokens - 1u);
        let tile_kept = tile_token < p.tokens && ${tile.kept};
        let tile_row = ${tile.row};
        ${arrays
          .map((name) =>
            each(vectors, (v) => `let ${name}_${v} = select(vec4f(), load_${name}(tile_row, ${v}u), tile_kept);`),
          )
          .join("\n")}
        ${pairs.map((name) => `let ${name}_pair = ${name}[tile_row];`).join("\n")}`,
      row: (name, v, s) => `subgroupShuffle(${name}_${v}, ${s})`,
      pair: (name, s) => `subgroupShuffle(${name}_pair, ${s})`,
    };
  }
  const rows = Math.min(32, 2 ** Math.floor(Math.log2(TILE_BYTES / (16 * vectors * arrays.length))));
  return {
    rows,
    declarations: `
      ${arrays.map((name) => `var<workgroup> tile_${name}: array<vec4f, ${rows * vectors}>;`).join("\n")}
      ${pairs.map((name) => `var<workgroup> tile_${name}: array<vec2f, ${rows}>;`).join("\n")}`,
    load: (first) => `
      workgroupBarrier();
      for (var x = lane; x < ${rows * vectors}u; x += ${lanes}u) {
        let tile_token = u32(${first}) + x / ${vectors}u;
        let t = min(tile_token, p.tokens - 1u);
        let tile_kept = tile_token < p.tokens && ${tile.kept};
        let tile_row = ${tile.row};
        ${arrays
          .map((name) => `tile_${name}[x] = select(vec4f(), load_${name}(tile_row, x % ${vectors}u), tile_kept);`)
          .join("\n")}
      }
      ${
        pairs.length > 0
          ? `if (lane < ${rows}u) {
              let t = min(u32(${first}) + lane, p.tokens - 1u);
              let tile_row = ${tile.row};
              ${pairs.map((name) => `tile_${name}[lane] = ${name}[tile_row];`).join("\n")}
            }`
          : ""
      }
      workgroupBarrier();`,
    row: (name, v, s) => `tile_${name}[(${s}) * ${vectors}u + ${v}u]`,
    pair: (name, s) => `tile_${name}[${s}]`,
  };
}

/**
 * WGSL `fn bounds(lane: u32, low: i32, high: i32) -> vec2i`: the least `low` and the greatest `high` of the workgroup,
 * uniform, so that loops between them may hold barriers.
 */
export function boundsOverLanes(facts: DeviceFacts): string {
  if (fixedSubgroup(facts))
    return `fn bounds(lane: u32, low: i32, high: i32) -> vec2i { return vec2i(subgroupMin(low), subgroupMax(high)); }`;
  const lanes = rowLanes(facts);
  return `
    var<workgroup> shared_bounds: array<vec2i, ${lanes}>;
    fn bounds(lane: u32, low: i32, high: i32) -> vec2i {
      shared_bounds[lane] = vec2i(low, high);
      workgroupBarrier();
      for (var half = ${lanes / 2}u; half > 0u; half >>= 1u) {
        if (lane < half) {
          let a = shared_bounds[lane];
          let b = shared_bounds[lane + half];
          shared_bounds[lane] = vec2i(min(a.x, b.x), max(a.y, b.y));
        }
        workgroupBarrier();
      }
      return workgroupUniformLoad(&shared_bounds[0]);
    }`;
}

/**
 * WGSL that turns the flat group index into `block` (of `lanes` tokens) and `unit` (a head or group of heads).
 * A causal query's work grows with its position, and software Vulkan gives each thread one contiguous range of
 * groups: short and long blocks alternate, so that any range holds its share of both.
 */
export function blockAndUnit(facts: DeviceFacts): string {
  return `
    let blocks = (p.tokens + ${rowLanes(facts) - 1}u) / ${rowLanes(facts)}u;
    let unit = group / blocks;
    let turn = group % blocks;
    let block = select(turn / 2u, blocks - 1u - turn / 2u, (turn & 1u) == 1u);`;
}
