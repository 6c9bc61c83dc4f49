// Matmul for GPUs of any vendor: a workgroup keeps a piece of both operands in shared memory and each thread
// accumulates a 4×4 block in registers. Assumes nothing about subgroups.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../../kernel.ts";
import type { Kernel } from "../../kernel.ts";
import { BLOCK, operand, operandElement } from "./operands.ts";
import { MATMUL_PARAMS, storeBlock, tileCount, tileOfGroup } from "./shared.ts";
import type { MatmulSpec } from "./shared.ts";

/** Columns per workgroup. */
export const TILE_COLS = 64;
/** Depth of the pieces in shared memory: 16 KiB with 64 rows, which every device has. */
const TILE_DEPTH = 32;

function source(spec: MatmulSpec): string {
  const rowBlocks = spec.tile / 4;
  const colBlocks = TILE_COLS / 4;
  const depthBlocks = TILE_DEPTH / 4;
  const threads = rowBlocks * colBlocks;
  // neighbouring threads read neighbouring memory: the contiguous dimension runs fastest
  const place = (side: "left" | "right", blocks: number): string =>
    spec[side] === "k"
      ? `let own = i / ${depthBlocks}u; let depth = i % ${depthBlocks}u;`
      : `let own = i % ${blocks}u; let depth = i / ${blocks}u;`;
  const fill = (side: "left" | "right", blocks: number, origin: string): string => `
        for (var i = lane; i < ${blocks * depthBlocks}u; i += ${threads}u) {
          ${place(side, blocks)}
          var b = Block();
          if (k + 4u * depth < k_end) { b = ${side}_block(${origin} + 4u * own, k + 4u * depth, k_end); }
          let at = 4u * depth * ${blocks}u + own;
          ${side}_tile[at] = b.k0; ${side}_tile[at + ${blocks}u] = b.k1;
          ${side}_tile[at + ${2 * blocks}u] = b.k2; ${side}_tile[at + ${3 * blocks}u] = b.k3;
        }`;
  return `
    ${BLOCK}
    ${operand({ name: "left", own: "p.rows", contiguous: spec.left, format: "f32", aligned: spec.aligned, zeroed: true })}
    ${operand({ name: "right", own: "p.cols", contiguous: spec.right, format: spec.format, aligned: spec.vectors, zeroed: false })}
    ${storeBlock(spec)}
    // [k][own / 4]
    var<workgroup> left_tile: array<vec4f, ${TILE_DEPTH * rowBlocks}>;
    var<workgroup> right_tile: array<vec4f, ${TILE_DEPTH * colBlocks}>;
    @compute @workgroup_size(${threads})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      ${tileOfGroup(spec.tile, TILE_COLS)}
      let row = lane / ${colBlocks}u;
      let col = lane % ${colBlocks}u;
      var c0 = vec4f(0.0); var c1 = vec4f(0.0); var c2 = vec4f(0.0); var c3 = vec4f(0.0);
      for (var k = k_first; k < k_end; k += ${TILE_DEPTH}u) {
        ${fill("left", rowBlocks, "row0")}
        ${fill("right", colBlocks, "col0")}
        workgroupBarrier();
        for (var d = 0u; d < ${TILE_DEPTH}u; d++) {
          let a = left_tile[d * ${rowBlocks}u + row];
          let b = right_tile[d * ${colBlocks}u + col];
          c0 += a.x * b; c1 += a.y * b; c2 += a.z * b; c3 += a.w * b;
        }
        workgroupBarrier();
      }
      store_block(slice, row0 + 4u * row, col0 + 4u * col, c0, c1, c2, c3);
    }`;
}

/** left [rows, depth] · right [depth, cols] → out, through shared memory. */
export const matmulTile: Kernel<keyof typeof MATMUL_PARAMS, "left" | "right" | "bias", never, "out"> = defineKernel({
  label: "matmul_tile",
  params: MATMUL_PARAMS,
  reads: {
    left: (spec) => operandElement("f32", (spec as MatmulSpec).aligned),
    right: (spec) => operandElement((spec as MatmulSpec).format, (spec as MatmulSpec).vectors),
    bias: "f32",
  },
  updates: { out: (spec) => ((spec as MatmulSpec).aligned ? "vec4f" : "f32") },
  workgroups: (params, spec) => tileCount(params, (spec as MatmulSpec).tile, TILE_COLS),
  wgsl: (spec) => source(spec as MatmulSpec),
});
