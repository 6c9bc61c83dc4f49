// Matmul for software devices (lavapipe), where a load costs as much as forty multiplications, and shared memory and
// barriers cost more still. One workgroup is one subgroup; each lane owns four columns, or twice four, of all rows of the tile. Per
// four k, the lanes load distinct pieces of the left operand and hand them round by subgroupShuffle, which is one
// permutation instruction. The classic tile in shared memory reaches a sixth of its speed there.

import type { DeviceFacts } from "../../facts.ts";
import { defineKernel, GROUP_INDEX } from "../../kernel.ts";
import { fourBitLoop } from "./four-bit-lanes.ts";
import type { Contiguous } from "./operands.ts";
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

/** Columns per workgroup. */
export function shuffleTileCols(facts: DeviceFacts, across: number): number {
  return 4 * across * facts.subgroupMinSize;
}

function source(spec: MatmulSpec, facts: DeviceFacts): string {
  const lanes = facts.subgroupMinSize;
  const { across } = spec;
  const rows = range(spec.tile);
  const quads = range(spec.tile / 4);
  const fours = range(across);
  const loads = range(Math.ceil(spec.tile / lanes));
  const held = (r: number): string => `subgroupShuffle(a${Math.floor(r / lanes)}, ${r % lanes}u)`;

  const fourBits = spec.inBlocks ? fourBitLoop(spec, facts) : undefined;

  /** Adds left · right over [first, end) to the sums. */
  const multiply = (two: "" | "2", contiguous: Contiguous, first: string, end: string): string => {
    // along k: lane = row, and it holds four k; along rows: lane = (four rows, one of four k)
    const load = (i: number): string =>
      contiguous === "k"
        ? `left${two}_run(row0 + ${i * lanes}u + lane, k, ${end})`
        : `select(vec4f(0.0), left${two}_run(row0 + ${i * lanes}u + (lane & ~3u), min(my_k, ${end} - 1u), ${end}), my_k < ${end})`;
    const product = (r: number, of: readonly string[]): string =>
      fours.map((v) => `c${r}_${v} += ${of.map((x, i) => `${x} * b${v}.k${i}`).join(" + ")};`).join(" ");
    const products =
      contiguous === "k"
        ? rows.map((r) => `{ let v = ${held(r)}; ${product(r, ["v.x", "v.y", "v.z", "v.w"])} }`)
        : quads.map((q) => {
            const shuffled = range(4).map((i) => `let v${i} = ${held(4 * q + i)};`);
            const sums = ["x", "y", "z", "w"].map((c, j) =>
              product(
                4 * q + j,
                range(4).map((i) => `v${i}.${c}`),
              ),
            );
            return `{ ${shuffled.join(" ")}
          ${sums.join(" ")} }`;
          });
    const coded = two === "" ? fourBits : undefined;
    const block = (v: number): string => coded?.block(v, end) ?? `right${two}_block(col + ${4 * v}u, k, ${end})`;
    const over = (from: string, to: string): string => `for (var k = ${from}; k < ${to}; k += 4u) {
        ${contiguous === "k" ? "" : "let my_k = k + (lane & 3u);"}
        ${loads.map((i) => `let a${i} = ${load(i)};`).join("\n        ")}
        ${fours.map((v) => `let b${v} = ${block(v)};`).join("\n        ")}
        ${products.join("\n        ")}
      }`;
    if (!coded) return over(first, end);
    return `for (var kb = ${first}; kb < ${end}; kb += ${coded.step}) {
        ${coded.scales(end)}
        let k_stop = min(kb + ${coded.step}, ${end});
        ${over("kb", "k_stop")}
      }`;
  };
  const sums = quads.flatMap((q) => fours.map((v) => range(4).map((j) => `c${4 * q + j}_${v}`)));
  return `
    ${operands(spec)}
    ${fourBits?.functions ?? ""}
    ${storeBlock(spec)}
    @compute @workgroup_size(${lanes})
    fn main(@builtin(workgroup_id) workgroup_id: vec3u, @builtin(num_workgroups) num_workgroups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
      ${GROUP_INDEX}
      ${tileOfGroup(spec, spec.tile, shuffleTileCols(facts, across))}
      let col = col0 + lane * ${4 * across}u;
      ${fourBits?.prepare ?? ""}
      ${sums
        .flat()
        .map((c) => `var ${c} = vec4f(0.0);`)
        .join(" ")}
      ${multiply("", spec.left, "k_first", "k_end")}
      ${spec.joined === "no" ? "" : `if (slice == 0u) { ${multiply("2", "k", "rank_first", "rank_end")} }`}
      // one copy of the store, through which the sums move up: unrolled it would be most of the compile time
      let blocks = (min(row0 + ${spec.tile}u, p.rows) - row0 + 3u) / 4u * ${across}u;
      for (var i = 0u; i < blocks; i++) {
        store_block(slice, row0 + 4u * (i / ${across}u), col + 4u * (i % ${across}u), ${sums[0]!.join(", ")});
        ${sums
          .slice(0, -1)
          .map((block, i) => block.map((c, j) => `${c} = ${sums[i + 1]![j]};`).join(" "))
          .join(" ")}
      }
    }`;
}

/** left [rows, depth] · right [depth, cols] → out, one subgroup per tile. */
export const matmulShuffle: MatmulKernel = defineKernel({
  label: "matmul_shuffle",
  params: MATMUL_PARAMS,
  reads: MATMUL_READS,
  updates: MATMUL_UPDATES,
  workgroups: (params, spec, facts) => {
    const { tile, across } = spec as MatmulSpec;
    return tileCount(params, tile, shuffleTileCols(facts, across));
  },
  cost: matmulCost,
  wgsl: (spec, facts) => source(spec as MatmulSpec, facts),
});
