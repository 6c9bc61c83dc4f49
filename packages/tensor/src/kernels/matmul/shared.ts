// What the two matmul kernels have in common: parameters, the split of work into tiles and slices, and the way a
// result reaches `out`. Both compute left · right, [rows, depth] · [depth, cols]; a product with few columns is
// computed as its transpose, with the operands exchanged.

import type { WeightFormat } from "../../weight.ts";
import type { Spec } from "../../kernel.ts";
import type { Contiguous } from "./operands.ts";

export const MATMUL_PARAMS = {
  rows: "u32",
  cols: "u32",
  depth: "u32",
  left_start: "u32",
  left_stride: "u32",
  right_start: "u32",
  right_stride: "u32",
  out_start: "u32",
  out_stride: "u32",
  bias_start: "u32",
  /** depth is cut into `slices` ranges of `chunk`; with more than one, each writes its own partial result */
  chunk: "u32",
  slices: "u32",
  slice_stride: "u32",
  /** sum of ADD_BIAS and ACCUMULATE */
  flags: "u32",
  scale: "f32",
} as const;

export const ADD_BIAS = 1;
export const ACCUMULATE = 2;

export interface MatmulSpec extends Spec {
  /** contiguous dimension of each operand */
  readonly left: Contiguous;
  readonly right: Contiguous;
  /** format of right; left is f32 */
  readonly format: WeightFormat;
  /** right is read four elements at a time */
  readonly vectors: boolean;
  /** left and out are read and written four elements at a time */
  readonly aligned: boolean;
  /** out is `[cols, rows]` */
  readonly transposed: boolean;
  /** rows per workgroup */
  readonly tile: number;
}

/**
 * WGSL: `group` → `row0`, `col0` of the tile, its depth range [`k_first`, `k_end`) and `slice`. Neighbouring groups
 * share columns: on hardware with few cores the right operand, the larger traffic, stays in cache.
 */
export function tileOfGroup(tileRows: number, tileCols: number): string {
  return `
      let row_tiles = (p.rows + ${tileRows - 1}u) / ${tileRows}u;
      let tiles = row_tiles * ((p.cols + ${tileCols - 1}u) / ${tileCols}u);
      let slice = group / tiles;
      if (slice >= p.slices) { return; }
      let tile = group - slice * tiles;
      let row0 = (tile % row_tiles) * ${tileRows}u;
      let col0 = (tile / row_tiles) * ${tileCols}u;
      let k_first = slice * p.chunk;
      let k_end = min(k_first + p.chunk, p.depth);`;
}

/** Workgroups of a launch. */
export function tileCount(
  params: { rows: number; cols: number; slices: number },
  tileRows: number,
  tileCols: number,
): number {
  return Math.ceil(params.rows / tileRows) * Math.ceil(params.cols / tileCols) * params.slices;
}

/**
 * WGSL: `store4(slice, row, col, v0, v1, v2, v3)` finishes a 4×4 block, whose rows are v0 … v3: scale, bias,
 * accumulation, bounds.
 */
export function storeBlock(spec: MatmulSpec): string {
  const { transposed, aligned } = spec;
  const c = ["x", "y", "z", "w"];
  const line = (j: number): string =>
    transposed ? `vec4f(${[0, 1, 2, 3].map((r) => `v${r}.${c[j]}`).join(", ")})` : `v${j}`;
  const [major, minor] = transposed ? ["col", "row"] : ["row", "col"];
  const [majors, minors] = transposed ? ["p.cols", "p.rows"] : ["p.rows", "p.cols"];
  const element = (j: number): string => `
      if (minor + ${j}u < ${minors}) {
        if ((p.flags & ${ADD_BIAS}u) != 0u) { v.${c[j]} += bias[p.bias_start + minor + ${j}u]; }
        if ((p.flags & ${ACCUMULATE}u) != 0u) { v.${c[j]} += out[at + ${j}u]; }
        out[at + ${j}u] = v.${c[j]};
      }`;
  return `
    fn store_line(slice: u32, major: u32, minor: u32, product: vec4f) {
      if (major >= ${majors} || minor >= ${minors}) { return; }
      let at = p.out_start + slice * p.slice_stride + major * p.out_stride + minor;
      var v = p.scale * product;
      ${
        aligned
          ? `
      if ((p.flags & ${ADD_BIAS}u) != 0u) {
        let i = p.bias_start + minor;
        v += vec4f(bias[i], bias[i + 1u], bias[i + 2u], bias[i + 3u]);
      }
      if ((p.flags & ${ACCUMULATE}u) != 0u) { v += out[at >> 2u]; }
      out[at >> 2u] = v;`
          : [0, 1, 2, 3].map(element).join("")
      }
    }
    fn store_block(slice: u32, row: u32, col: u32, v0: vec4f, v1: vec4f, v2: vec4f, v3: vec4f) {
      ${[0, 1, 2, 3].map((j) => `store_line(slice, ${major} + ${j}u, ${minor}, ${line(j)});`).join("\n      ")}
    }`;
}
