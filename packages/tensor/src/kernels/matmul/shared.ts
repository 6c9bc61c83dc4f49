// What the two matmul kernels have in common: parameters, the split of work into tiles and slices, and the way a
// result reaches `out`. Both compute left · right, [rows, depth] · [depth, cols]; a product with few columns is
// computed as its transpose, with the operands exchanged. A second, low-rank product can join the sum: left2 · right2,
// [rows, rank] · [rank, cols]. One operand, or out, may be block-diagonal: see `MatmulSpec.diagonal`.

import type { MatrixShape } from "../../facts.ts";
import type { Cost, Element, Kernel, LaunchedWork, Spec } from "../../kernel.ts";
import type { WeightFormat } from "../../weight.ts";
import { BLOCK, FOUR, operand, operandElement } from "./operands.ts";
import { DIAGONAL, touched, WIDTH, widthOf } from "./diagonal.ts";
import type { Contiguous } from "./operands.ts";

/** At most 16: all that fits in 64 bytes of immediates. */
export const MATMUL_PARAMS = {
  rows: "u32",
  cols: "u32",
  depth: "u32",
  left_start: "u32",
  left_stride: "u32",
  right_start: "u32",
  right_stride: "u32",
  /** first element of out, and of bias */
  out_start: "u32",
  out_stride: "u32",
  /** depth is cut into `slices` ranges of `chunk`; with more than one, each writes its own partial result */
  chunk: "u32",
  slices: "u32",
  /** see `packFlags` */
  flags: "u32",
  scale: "f32",
  /** depth of the second product, a multiple of four */
  rank: "u32",
  /** of something block-diagonal: the rows at which the second and the third block begin */
  end_0: "u32",
  end_1: "u32",
} as const;

export const ADD_BIAS = 1;
export const ACCUMULATE = 2;
/** the dispatch has as many workgroups along x as rows are wanted, in tiles; along y the rest */
export const ROW_TILES = 4;
export interface MatmulSpec extends Spec {
  /** contiguous dimension of each operand */
  readonly left: Contiguous;
  readonly right: Contiguous;
  /** format of right; left is f32 */
  readonly format: WeightFormat;
  /** read and written four elements at a time */
  readonly leftFours: boolean;
  readonly rightFours: boolean;
  readonly outFours: boolean;
  /** out is `[cols, rows]` */
  readonly transposed: boolean;
  /** adds left2 · right2; contiguous dimension of right2 */
  readonly joined: "no" | Contiguous;
  /**
   * What stands for a block-diagonal matrix and holds its blocks alone, stacked `[rows, width]`: block i has the columns from i · width
   * on. Of a right operand these are the dimensions that are not and that are contiguous; out is one in its gradient, and
   * nothing beside the blocks is computed.
   */
  readonly diagonal?: "right" | "right2" | "out";
  /** rows per workgroup */
  readonly tile: number;
  /** runs of four columns per lane, or fragments of columns per subgroup, where the kernel lets one choose */
  readonly across: number;
  /** type of the operands of matrix units */
  readonly component?: MatrixShape["component"];
  /** of a four-bit right operand: its lines are multiples of 32 elements, so that 32 neighbours share a scale */
  readonly inBlocks?: boolean;
}

type BySpec = (spec: Spec) => Element;
/** Bindings of both kernels. */
export const MATMUL_READS: { left: BySpec; right: BySpec; left2: Element; right2: Element; bias: Element } = {
  left: (spec) => operandElement("f32", (spec as MatmulSpec).leftFours),
  right: (spec) => operandElement((spec as MatmulSpec).format, (spec as MatmulSpec).rightFours),
  left2: "vec4f",
  right2: "vec4f",
  bias: "f32",
};
/** An update even where nothing is added to it: whether the old content counts is a parameter. */
export const MATMUL_UPDATES: { out: BySpec } = {
  out: (spec) => ((spec as MatmulSpec).outFours ? "vec4f" : "f32"),
};
export type MatmulKernel = Kernel<keyof typeof MATMUL_PARAMS, keyof typeof MATMUL_READS, never, "out">;

/** Two operations per multiply-add of both products. `out` is read only where something is added to it. */
export function matmulCost(
  { rows, cols, depth, rank, slices, flags }: Readonly<Record<keyof typeof MATMUL_PARAMS, number>>,
  spec: Spec,
  { bytes }: LaunchedWork,
): Cost {
  const { joined, diagonal } = spec as MatmulSpec;
  const width = widthOf(flags);
  // zeros beside blocks cost nothing that counts
  const second = joined === "no" ? 0 : diagonal === "right2" ? width : rank;
  const inner = diagonal === "right" && (spec as MatmulSpec).right === "k" ? width : depth;
  const outer = (diagonal === "right" && (spec as MatmulSpec).right === "own") || diagonal === "out" ? width : cols;
  const bias = (flags & ADD_BIAS) === 0 ? 0 : 4 * ((spec as MatmulSpec).transposed ? rows : cols);
  const out = 4 * rows * (diagonal === "out" ? width : cols) * ((flags & ACCUMULATE) === 0 ? slices : slices + 1);
  const seconds = bytes("left2") + bytes("right2");
  return {
    flops: 2 * rows * (outer * inner + cols * second),
    bytes: bytes("left") + bytes("right") + seconds + bias + out,
  };
}

/** WGSL of all operands: functions `left_run`, `left_block`, `right_run` …, see `operand`. */
export function operands(spec: MatmulSpec): string {
  const width = (name: typeof spec.diagonal): string | undefined => (spec.diagonal === name ? WIDTH : undefined);
  const left = { own: "p.rows", format: "f32", zeroed: true } as const;
  const right = { own: "p.cols", zeroed: false };
  const texts = [
    operand({
      ...left,
      name: "left",
      start: "p.left_start",
      stride: "p.left_stride",
      contiguous: spec.left,
      aligned: spec.leftFours,
    }),
    operand({
      ...right,
      name: "right",
      start: "p.right_start",
      stride: "p.right_stride",
      contiguous: spec.right,
      format: spec.format,
      aligned: spec.rightFours,
      width: width("right"),
    }),
  ];
  if (spec.joined !== "no")
    texts.push(
      operand({ ...left, name: "left2", start: "0u", stride: "p.rank", contiguous: "k", aligned: true }),
      operand({
        ...right,
        name: "right2",
        start: "0u",
        stride: spec.joined === "k" ? "p.rank" : "p.cols",
        contiguous: spec.joined,
        format: "f32",
        aligned: true,
        width: width("right2"),
      }),
    );
  return `${BLOCK}${spec.diagonal ? DIAGONAL : ""}${texts.join("")}`;
}

/**
 * WGSL: `group` → `row0`, `col0` of the tile, its depth range [`k_first`, `k_end`) and `slice`. Neighbouring groups
 * share columns, so that the right operand, the larger traffic, stays in cache.
 */
export function tileOfGroup(spec: MatmulSpec, tileRows: number, tileCols: number): string {
  // beside blocks, columns differ in their work, and software devices give each thread one range of groups
  const uneven = spec.diagonal === "right" || spec.diagonal === "out";
  const place = uneven
    ? "let row_tile = tile / col_tiles; let col_tile = tile % col_tiles;"
    : "let row_tile = tile % row_tiles; let col_tile = tile / row_tiles;";
  return `
      let row_tiles = select((p.rows + ${tileRows - 1}u) / ${tileRows}u, num_workgroups.x, (p.flags & ${ROW_TILES}u) != 0u);
      let col_tiles = (p.cols + ${tileCols - 1}u) / ${tileCols}u;
      let tiles = row_tiles * col_tiles;
      let slice = group / tiles;
      if (slice >= p.slices) { return; }
      let tile = group - slice * tiles;
      ${place}
      let row0 = row_tile * ${tileRows}u;
      let col0 = col_tile * ${tileCols}u;
      ${spec.diagonal === "right" ? "var" : "let"} k_first = slice * p.chunk;
      ${spec.diagonal === "right" ? "var" : "let"} k_end = min(k_first + p.chunk, p.depth);
      ${touched(spec, tileRows, tileCols)}`;
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
 * WGSL: `store_block(slice, row, col, v0, v1, v2, v3)` finishes a 4×4 block, whose rows are v0 … v3: scale, bias,
 * accumulation, bounds.
 */
export function storeBlock(spec: MatmulSpec): string {
  const { transposed, outFours } = spec;
  const diagonal = spec.diagonal === "out";
  const [x, y, z, w] = ["x", "y", "z", "w"].map((c) => `vec4f(v0.${c}, v1.${c}, v2.${c}, v3.${c})`);
  const lines = transposed ? [x, y, z, w] : ["v0", "v1", "v2", "v3"];
  const [major, minor] = transposed ? ["col", "row"] : ["row", "col"];
  const [majors, minors] = transposed ? ["p.cols", "p.rows"] : ["p.rows", "p.cols"];
  const store = outFours
    ? `if (accumulate) { v += out[at >> 2u]; }
          out[at >> 2u] = v;`
    : ["x", "y", "z", "w"]
        .map(
          (c, j) => `if (${minor} + ${j}u < ${minors}) {
            if (accumulate) { v.${c} += out[at + ${j}u]; }
            out[at + ${j}u] = v.${c};
          }`,
        )
        .join("\n          ");
  return `
    fn store_block(slice: u32, row: u32, col: u32, v0: vec4f, v1: vec4f, v2: vec4f, v3: vec4f) {
      if (${minor} >= ${minors}) { return; }
      let accumulate = (p.flags & ${ACCUMULATE}u) != 0u;
      var added = vec4f(0.0);
      if ((p.flags & ${ADD_BIAS}u) != 0u) {
        let i = p.out_start + ${minor};
        let last = p.out_start + ${minors} - 1u;
        added = vec4f(bias[i], bias[min(i + 1u, last)], bias[min(i + 2u, last)], bias[min(i + 3u, last)]);
      }
      var at = p.out_start + slice * p.rows * ${diagonal ? WIDTH : "p.cols"} + ${major} * p.out_stride + ${minor};
      var line0 = ${lines[0]}; var line1 = ${lines[1]}; var line2 = ${lines[2]}; let line3 = ${lines[3]};
      ${diagonal ? "let first = at;" : ""}
      for (var j = 0u; j < ${FOUR}; j++) {
        ${diagonal ? `let left_of = block_of(row + j) * ${WIDTH}; at = first + j * p.out_stride - left_of;` : ""}
        if (${major} + j < ${majors}${diagonal ? ` && col >= left_of && col < left_of + ${WIDTH}` : ""}) {
          var v = p.scale * line0 + added;
          ${store}
        }
        at += p.out_stride;
        line0 = line1; line1 = line2; line2 = line3;
      }
    }`;
}
