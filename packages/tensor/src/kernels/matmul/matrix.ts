// Matmul on matrix units (tensor cores, simdgroup matrices): eight subgroups in four rows of two multiply fragments of
// both operands out of shared memory, while the next piece is already on its way; the design of
// https://github.com/jeffbolznv/vk_cooperative_matrix_perf. Operands are rounded to the component type on their way into
// shared memory, sums are f32. Sizes of fragments and subgroups are the device's; where subgroups are of more than one
// size, a workgroup has at least eight, and the rest only helps to load.

import type { DeviceFacts, MatrixShape } from "../../facts.ts";
import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../../kernel.ts";
import { FOUR } from "./operands.ts";
import {
  matmulCost,
  MATMUL_PARAMS,
  MATMUL_READS,
  MATMUL_UPDATES,
  operands,
  storeBlock,
  tileCount,
  tileOfGroup,
} from "./shared.ts";
import type { MatmulKernel, MatmulSpec } from "./shared.ts";

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

const DOWN = 4; // subgroups
const ACROSS = 2;
const DEPTH = 32; // of a piece in shared memory
const PAD = 2; // runs of four that keep lines of a piece apart: neighbouring lines then start in other memory banks

/** The shape of fragments for operands of this type, if the device has one. */
export function matrixShape(facts: DeviceFacts, component: MatrixShape["component"]): MatrixShape | undefined {
  // the largest: more work per load
  return facts.matrices
    .filter((shape) => shape.component === component)
    .toSorted((a, b) => b.m * b.n * b.k - a.m * a.n * a.k)[0];
}

/** Rows of a workgroup's tile, with `down` fragments per subgroup. */
export function matrixTileRows(shape: MatrixShape, down: number): number {
  return DOWN * down * shape.m;
}

/** Columns of a workgroup's tile, with `across` fragments per subgroup. */
export function matrixTileCols(shape: MatrixShape, across: number): number {
  return ACROSS * across * shape.n;
}

const shapeOf = (spec: MatmulSpec, facts: DeviceFacts): MatrixShape => matrixShape(facts, spec.component!)!;

/** How a piece of one operand, `own` × DEPTH, lies in shared memory: in lines along its contiguous dimension. */
function piece(
  side: "left" | "right",
  spec: MatmulSpec,
  o: { own: number; threads: number; element: string; origin: string },
): { tile: string; stride: number; next: string; load: string; keep: string; at: (own: string, k: string) => string } {
  const along = spec[side] === "k" ? DEPTH : o.own;
  const runs = along / 4;
  const stride = runs + PAD;
  const count = (o.own * DEPTH) / 4;
  const loads = range(Math.ceil(count / o.threads));
  const each = (i: number, body: string): string => {
    const inside = (i + 1) * o.threads <= count ? "" : `if (lane + ${i * o.threads}u < ${count}u) `;
    return `${inside}{ let line = (lane + ${i * o.threads}u) / ${runs}u; let run = (lane + ${i * o.threads}u) % ${runs}u; ${body} }`;
  };
  const [own, deep] = spec[side] === "k" ? ["line", "4u * run"] : ["4u * run", "line"];
  const fetch = (i: number, two: string, end: string): string =>
    `if (k + ${deep} < ${end}) { ${side}_next${i} = ${o.element}(${side}${two}_run(${o.origin} + ${own}, k + ${deep}, ${end})); }`;
  return {
    tile: `var<workgroup> ${side}_tile: array<${o.element}, ${(count / runs) * stride}>;`,
    stride,
    next: loads.map((i) => `var ${side}_next${i}: ${o.element};`).join(" "),
    load: loads
      .map((i) => {
        const first = fetch(i, "", "k_end");
        const either = spec.joined === "no" ? first : `if (second) { ${fetch(i, "2", "rank_end")} } else { ${first} }`;
        return each(i, `${side}_next${i} = ${o.element}(); ${either}`);
      })
      .join("\n        "),
    keep: loads.map((i) => each(i, `${side}_tile[line * ${stride}u + run] = ${side}_next${i};`)).join("\n        "),
    at: (ownAt, k) => (spec[side] === "k" ? `${ownAt} * ${stride}u + ${k} / 4u` : `${k} * ${stride}u + ${ownAt} / 4u`),
  };
}

function source(spec: MatmulSpec, facts: DeviceFacts): string {
  const component = spec.component!;
  const { m, n, k } = shapeOf(spec, facts);
  const tile = { rows: spec.tile, cols: ACROSS * spec.across * n };
  const [down, across] = [spec.tile / DOWN / m, spec.across];
  const subgroups = DOWN * ACROSS;
  const threads = subgroups * facts.subgroupMaxSize;
  const element = component === "f16" ? "vec4<f16>" : "vec4f";
  const joins = spec.joined !== "no";
  const left = piece("left", spec, { own: tile.rows, threads, element, origin: "row0" });
  const right = piece("right", spec, { own: tile.cols, threads, element, origin: "col0" });
  const major = (side: "left" | "right"): string =>
    (spec[side] === "k") === (side === "left") ? "row_major" : "col_major";
  const sums = range(down).flatMap((i) => range(across).map((j) => ({ i, j, c: `c${i}_${j}` })));
  // subgroups beyond the eighth have no tile of their own
  const works = facts.subgroupMinSize === facts.subgroupMaxSize ? "" : `if (subgroup < ${subgroups}u) `;
  const blocks = (m / 4) * (n / 4);
  return `
    ${operands(spec)}
    ${storeBlock(spec)}
    ${left.tile}
    ${right.tile}
    var<workgroup> staged: array<vec4f, ${(subgroups * m * n) / 4}>;
    @compute @workgroup_size(${threads})
    fn main(${MAIN_ARGS}, @builtin(subgroup_id) subgroup: u32) {
      ${GROUP_INDEX}
      ${tileOfGroup(spec, tile.rows, tile.cols)}
      let my_row = subgroup / ${ACROSS}u * ${down * m}u;
      let my_col = subgroup % ${ACROSS}u * ${across * n}u;
      ${sums.map(({ c }) => `var ${c} = subgroup_matrix_result<f32, ${n}, ${m}>();`).join(" ")}
      ${left.next}
      ${right.next}
      let first_pieces = (k_end - k_first + ${DEPTH - 1}u) / ${DEPTH}u;
      let pieces = first_pieces${joins ? ` + select(0u, (rank_end - rank_first + ${DEPTH - 1}u) / ${DEPTH}u, slice == 0u)` : ""};
      for (var i = 0u; i <= pieces; i++) {
        ${joins ? "let second = i >= first_pieces;" : ""}
        let k = ${joins ? `select(k_first + i * ${DEPTH}u, rank_first + (i - first_pieces) * ${DEPTH}u, second)` : `k_first + i * ${DEPTH}u`};
        ${left.load}
        ${right.load}
        if (i > 0u) {
          ${works}{
            // a trip count that drivers cannot prove: unrolled it compiles several times longer
            for (var d = 0u; d < ${DEPTH / k}u * ${FOUR} / 4u; d++) {
              ${range(across)
                .map(
                  (j) =>
                    `let b${j} = subgroupMatrixLoad<subgroup_matrix_right<${component}, ${n}, ${k}>, ${major("right")}>(&right_tile, ${right.at(`(my_col + ${j * n}u)`, `(d * ${k}u)`)}, ${right.stride}u);`,
                )
                .join("\n              ")}
              ${range(down)
                .map(
                  (i) =>
                    `{ let a = subgroupMatrixLoad<subgroup_matrix_left<${component}, ${k}, ${m}>, ${major("left")}>(&left_tile, ${left.at(`(my_row + ${i * m}u)`, `(d * ${k}u)`)}, ${left.stride}u);
                ${range(across)
                  .map((j) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(a, b${j}, c${i}_${j});`)
                  .join(" ")} }`,
                )
                .join("\n              ")}
            }
          }
        }
        workgroupBarrier();
        ${left.keep}
        ${right.keep}
        workgroupBarrier();
      }
      // fragments are opaque: they reach the epilogue through shared memory, one of each subgroup at a time
      for (var f = 0u; f < ${sums.length}u * ${FOUR} / 4u; f++) {
        ${works}{ subgroupMatrixStore<row_major>(&staged, subgroup * ${(m * n) / 4}u, ${sums[0]!.c}, ${n / 4}u); }
        workgroupBarrier();
        for (var b = lane; b < ${subgroups * blocks}u; b += ${threads}u) {
          let owner = b / ${blocks}u;
          let row = 4u * (b % ${blocks}u / ${n / 4}u);
          let col = b % ${n / 4}u;
          let at = owner * ${(m * n) / 4}u + row * ${n / 4}u + col;
          store_block(slice, row0 + (owner / ${ACROSS}u * ${down}u + f / ${across}u) * ${m}u + row,
            col0 + (owner % ${ACROSS}u * ${across}u + f % ${across}u) * ${n}u + 4u * col,
            staged[at], staged[at + ${n / 4}u], staged[at + ${n / 2}u], staged[at + ${(3 * n) / 4}u]);
        }
        workgroupBarrier();
        ${sums
          .slice(0, -1)
          .map(({ c }, i) => `${c} = ${sums[i + 1]!.c};`)
          .join(" ")}
      }
    }`;
}

/**
 * left [rows, depth] · right [depth, cols] → out, on matrix units. A second product joins only if its operands lie in
 * memory as those of the first do.
 */
export const matmulMatrix: MatmulKernel = defineKernel({
  label: "matmul_matrix",
  params: MATMUL_PARAMS,
  reads: MATMUL_READS,
  updates: MATMUL_UPDATES,
  workgroups: (params, spec, facts) => {
    const matmul = spec as MatmulSpec;
    return tileCount(params, matmul.tile, matrixTileCols(shapeOf(matmul, facts), matmul.across));
  },
  cost: matmulCost,
  wgsl: (spec, facts) => source(spec as MatmulSpec, facts),
});
