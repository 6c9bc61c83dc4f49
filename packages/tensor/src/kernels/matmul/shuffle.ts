// Matmul for software devices (lavapipe), where shared memory, barriers and loads cost far more than arithmetic.
// One workgroup is one subgroup. Each lane owns four columns of up to 16 rows; the lanes load distinct pieces of the
// left operand and hand them round by subgroupShuffle, one permutation instruction. Measured against the classic
// shared-memory tile: 4 to 6 times faster.

import type { DeviceFacts } from "../../facts.ts";
import { defineKernel, GROUP_INDEX } from "../../kernel.ts";
import type { Kernel } from "../../kernel.ts";
import { BLOCK, operand, operandElement } from "./operands.ts";
import { MATMUL_PARAMS, storeBlock, tileCount, tileOfGroup } from "./shared.ts";
import type { MatmulSpec } from "./shared.ts";

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Columns per workgroup. */
export function shuffleTileCols(facts: DeviceFacts): number {
  return 4 * facts.subgroupMinSize;
}

function source(spec: MatmulSpec, facts: DeviceFacts): string {
  const lanes = facts.subgroupMinSize;
  const rows = range(spec.tile);
  // depth that one load per lane covers: runs of four along k, or one k per lane with runs of four along rows
  const step = spec.left === "k" ? 4 * lanes : lanes;
  const loads =
    spec.left === "k"
      ? rows.map((r) => `left_run(row0 + ${r}u, mine, k_end)`)
      : range(spec.tile / 4).map((g) => `left_run(row0 + ${4 * g}u, mine, k_end)`);
  const mine = spec.left === "k" ? "k + lane * 4u" : "k + lane";
  const c = ["x", "y", "z", "w"];
  const multiply =
    spec.left === "k"
      ? rows.map(
          (r) => `{ let v = subgroupShuffle(a${r}, s); c${r} += v.x * b.k0 + v.y * b.k1 + v.z * b.k2 + v.w * b.k3; }`,
        )
      : range(spec.tile / 4).map(
          (g) => `{
          let v0 = subgroupShuffle(a${g}, 4u * s); let v1 = subgroupShuffle(a${g}, 4u * s + 1u);
          let v2 = subgroupShuffle(a${g}, 4u * s + 2u); let v3 = subgroupShuffle(a${g}, 4u * s + 3u);
          ${range(4)
            .map(
              (j) => `c${4 * g + j} += v0.${c[j]} * b.k0 + v1.${c[j]} * b.k1 + v2.${c[j]} * b.k2 + v3.${c[j]} * b.k3;`,
            )
            .join(" ")}
        }`,
        );
  return `
    ${BLOCK}
    ${operand({ name: "left", own: "p.rows", contiguous: spec.left, format: "f32", aligned: spec.aligned, zeroed: true })}
    ${operand({ name: "right", own: "p.cols", contiguous: spec.right, format: spec.format, aligned: spec.vectors, zeroed: false })}
    ${storeBlock(spec)}
    @compute @workgroup_size(${lanes})
    fn main(@builtin(workgroup_id) workgroup_id: vec3u, @builtin(num_workgroups) num_workgroups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
      ${GROUP_INDEX}
      ${tileOfGroup(spec.tile, shuffleTileCols(facts))}
      let col = col0 + lane * 4u;
      ${rows.map((r) => `var c${r} = vec4f(0.0);`).join(" ")}
      for (var k = k_first; k < k_end; k += ${step}u) {
        let mine = min(${mine}, k_end - 1u)${spec.left === "k" ? " & ~3u" : ""};
        let in_range = ${mine} < k_end;
        ${loads.map((load, i) => `let a${i} = select(vec4f(0.0), ${load}, in_range);`).join("\n        ")}
        // bounds are written so that Mesa cannot prove a maximum trip count: it would unroll, at seconds of compile time
        let k_stop = min(k + ${step}u, k_end);
        for (var kk = k; kk < k_stop; kk += 4u) {
          let s = (kk - k) >> 2u;
          let b = right_block(col, kk, k_end);
          ${multiply.join("\n          ")}
        }
      }
      // rolled up, with the sums moving through c0 … c3: sixteen copies of the store would double the compile time
      let row_stop = min(row0 + ${spec.tile}u, p.rows);
      for (var row = row0; row < row_stop; row += 4u) {
        store_block(slice, row, col, c0, c1, c2, c3);
        ${rows
          .slice(0, -4)
          .map((r) => `c${r} = c${r + 4};`)
          .join(" ")}
      }
    }`;
}

/** left [rows, depth] · right [depth, cols] → out, one subgroup per tile. */
export const matmulShuffle: Kernel<keyof typeof MATMUL_PARAMS, "left" | "right" | "bias", never, "out"> = defineKernel({
  label: "matmul_shuffle",
  params: MATMUL_PARAMS,
  reads: {
    left: (spec) => operandElement("f32", (spec as MatmulSpec).aligned),
    right: (spec) => operandElement((spec as MatmulSpec).format, (spec as MatmulSpec).vectors),
    bias: "f32",
  },
  // an update even where nothing is added to it: whether the old content counts is a parameter
  updates: { out: (spec) => ((spec as MatmulSpec).aligned ? "vec4f" : "f32") },
  workgroups: (params, spec, facts) => tileCount(params, (spec as MatmulSpec).tile, shuffleTileCols(facts)),
  wgsl: (spec, facts) => source(spec as MatmulSpec, facts),
});
