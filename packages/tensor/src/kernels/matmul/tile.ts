// Matmul for GPUs of any vendor: a workgroup keeps a piece of both operands in shared memory and each thread
// accumulates 4×4 blocks in registers, while the next piece is already on its way. Assumes nothing about subgroups.

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

interface Geometry {
  readonly cols: number;
  /** depth of the pieces in shared memory; both together take at most 16 KiB, which every device has */
  readonly depth: number;
  /** 4×4 blocks per thread, down and across */
  readonly down: number;
  readonly across: number;
}
/** By rows of the tile: few rows (decoding, low-rank factors), the general case, and the most work per load. */
const GEOMETRY: Readonly<Record<number, Geometry>> = {
  16: { cols: 64, depth: 16, down: 1, across: 1 },
  64: { cols: 64, depth: 32, down: 1, across: 1 },
  128: { cols: 128, depth: 16, down: 2, across: 2 },
};

/** Columns per workgroup with a tile of `rows`. */
export function tileCols(rows: number): number {
  return GEOMETRY[rows]!.cols;
}

const joins = (spec: MatmulSpec): boolean => spec.joined !== "no";

/** How one operand's piece goes through the threads: each of `blocks · depth / 4` threads from `first` on takes a 4×4 block. */
function piece(
  side: "left" | "right",
  spec: MatmulSpec,
  o: {
    blocks: number;
    depth: number;
    first: number;
    threads: number;
    next: string;
    origin: string;
  },
): { load: string; keep: string } {
  const depthBlocks = o.depth / 4;
  const count = o.blocks * depthBlocks;
  const inside = [
    ...(o.first > 0 ? [`lane >= ${o.first}u`] : []),
    ...(o.first + count < o.threads ? [`lane < ${o.first + count}u`] : []),
  ];
  const own = `${side}_own`;
  const deep = `${side}_deep`;
  // neighbouring threads read neighbouring memory: the contiguous dimension runs fastest
  const index = `(lane - ${o.first}u)`;
  const place =
    spec[side] === "k"
      ? `let ${own} = ${index} / ${depthBlocks}u; let ${deep} = 4u * (${index} % ${depthBlocks}u);`
      : `let ${own} = ${index} % ${o.blocks}u; let ${deep} = 4u * (${index} / ${o.blocks}u);`;
  const kept = range(4).map((j) => `${side}_tile[(${deep} + ${j}u) * ${o.blocks}u + ${own}] = ${o.next}.k${j};`);
  const when = (condition: readonly string[], body: string): string =>
    condition.length === 0 ? `{ ${body} }` : `if (${condition.join(" && ")}) { ${body} }`;
  const fetch = (two: string, end: string): string =>
    `if (k + ${deep} < ${end}) { ${o.next} = ${side}${two}_block(${o.origin} + 4u * ${own}, k + ${deep}, ${end}); }`;
  const load = joins(spec)
    ? `if (second) { ${fetch("2", "rank_end")} } else { ${fetch("", "k_end")} }`
    : fetch("", "k_end");
  return {
    load: when(inside, `${place} ${o.next} = Block(); ${load}`),
    keep: when(inside, `${place} ${kept.join(" ")}`),
  };
}

function source(spec: MatmulSpec): string {
  const { cols, depth, down, across } = GEOMETRY[spec.tile]!;
  const rowBlocks = spec.tile / 4;
  const colBlocks = cols / 4;
  const threadRows = rowBlocks / down;
  const threadCols = colBlocks / across;
  const threads = threadRows * threadCols;
  // the smallest tile waits for memory, not for arithmetic: kept rolled up it compiles four times faster (see `four`)
  const steps = spec.tile === 16 ? `${depth / 4}u * ${FOUR}` : `${depth}u`;
  const leftThreads = (rowBlocks * depth) / 4;
  const rightFirst = threads - (colBlocks * depth) / 4;
  const leftNext = leftThreads > rightFirst ? "next_left" : "next"; // one register block where no thread loads both
  const left = piece("left", spec, {
    blocks: rowBlocks,
    depth,
    first: 0,
    threads,
    next: leftNext,
    origin: "row0",
  });
  const right = piece("right", spec, {
    blocks: colBlocks,
    depth,
    first: rightFirst,
    threads,
    next: "next",
    origin: "col0",
  });
  const sums = range(down).flatMap((i) => range(across).map((j) => ({ i, j, c: `c${i}${j}` })));
  return `
    ${operands(spec)}
    ${storeBlock(spec)}
    // [k][own / 4]
    var<workgroup> left_tile: array<vec4f, ${depth * rowBlocks}>;
    var<workgroup> right_tile: array<vec4f, ${depth * colBlocks}>;
    @compute @workgroup_size(${threads})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      ${tileOfGroup(spec, spec.tile, cols)}
      let row = lane / ${threadCols}u;
      let col = lane % ${threadCols}u;
      ${sums
        .map(({ c }) =>
          range(4)
            .map((r) => `var ${c}${r} = vec4f(0.0);`)
            .join(" "),
        )
        .join("\n      ")}
      var next: Block;
      ${leftNext === "next" ? "" : "var next_left: Block;"}
      let first_pieces = (k_end - k_first + ${depth - 1}u) / ${depth}u;
      let pieces = first_pieces${joins(spec) ? ` + select(0u, (rank_end - rank_first + ${depth - 1}u) / ${depth}u, slice == 0u)` : ""};
      // loads run one piece ahead: they are in flight while the piece before is multiplied
      for (var i = 0u; i <= pieces; i++) {
        ${joins(spec) ? "let second = i >= first_pieces;" : ""}
        let k = ${joins(spec) ? `select(k_first + i * ${depth}u, rank_first + (i - first_pieces) * ${depth}u, second)` : `k_first + i * ${depth}u`};
        ${left.load}
        ${right.load}
        if (i > 0u) {
          for (var d = 0u; d < ${steps}; d++) {
            ${range(down)
              .map((i) => `let a${i} = left_tile[d * ${rowBlocks}u + row + ${i * threadRows}u];`)
              .join(" ")}
            ${range(across)
              .map((j) => `let b${j} = right_tile[d * ${colBlocks}u + col + ${j * threadCols}u];`)
              .join(" ")}
            ${sums
              .map(({ i, j, c }) => ["x", "y", "z", "w"].map((x, r) => `${c}${r} += a${i}.${x} * b${j};`).join(" "))
              .join("\n            ")}
          }
        }
        workgroupBarrier();
        ${left.keep}
        ${right.keep}
        workgroupBarrier();
      }
      ${sums
        .map(
          ({ i, j, c }) =>
            `store_block(slice, row0 + 4u * (row + ${i * threadRows}u), col0 + 4u * (col + ${j * threadCols}u), ${range(
              4,
            )
              .map((r) => `${c}${r}`)
              .join(", ")});`,
        )
        .join("\n      ")}
    }`;
}

/** left [rows, depth] · right [depth, cols] → out, through shared memory. */
export const matmulTile: MatmulKernel = defineKernel({
  label: "matmul_tile",
  params: MATMUL_PARAMS,
  reads: MATMUL_READS,
  updates: MATMUL_UPDATES,
  workgroups: (params, spec) => {
    const { tile } = spec as MatmulSpec;
    return tileCount(params, tile, tileCols(tile));
  },
  cost: matmulCost,
  wgsl: (spec) => source(spec as MatmulSpec),
});
