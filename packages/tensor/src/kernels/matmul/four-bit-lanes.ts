// Four-bit weights in the subgroup kernel. A scale serves 32 elements and more, so it is looked up once per 32 of the depth, or
// by one lane for all; and the table of sixteen values lies across the lanes, where a look-up is one permutation.

import type { DeviceFacts } from "../../facts.ts";
import { fourBitTable } from "../../four-bit.ts";
import type { FourBitFormat } from "../../weight.ts";
import type { MatmulSpec } from "./shared.ts";

const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** The steps of a loop over the depth that stay inside a block's scale, and what is read in them. */
export interface FourBitLoop {
  /** WGSL functions */
  readonly functions: string;
  /** WGSL at the start of `main`: values of the table for this lane */
  readonly prepare: string;
  /** depth that one look-up of scales serves */
  readonly step: string;
  /** WGSL: looks scales up for depths from `kb` on, below `end` */
  readonly scales: (end: string) => string;
  /** WGSL expression: the Block of columns `col + 4 v` … at depths k … k + 3 */
  readonly block: (v: number, end: string) => string;
}

/**
 * @param spec - with `inBlocks`: the right operand's lines are multiples of 32 elements
 */
export function fourBitLoop(spec: MatmulSpec, facts: DeviceFacts): FourBitLoop {
  const lanes = facts.subgroupMinSize;
  const { across } = spec;
  const look = lookUp(spec.format as FourBitFormat, lanes);
  if (spec.right === "k")
    return {
      ...look,
      step: "32u",
      functions: `${look.functions}
    fn right_scales(i: u32, k: u32) -> vec4f {
      let last = p.cols - 1u;
      return vec4f(${range(4)
        .map((j) => `right_scale((min(i + ${j}u, last) * p.right_stride + k) >> right[1])`)
        .join(", ")});
    }
    fn right_coded(i: u32, k: u32, scales: vec4f, low: f32, high: f32) -> Block {
      let last = p.cols - 1u;
      let words = vec4u(${range(4)
        .map((j) => `right[right[0] + ((min(i + ${j}u, last) * p.right_stride + k) >> 3u)]`)
        .join(", ")});
      let half = words >> vec4u((k & 4u) * 4u);
      return Block(${[4, 0, 12, 8].map((shift) => `scales * right_look((half >> vec4u(${shift}u)) & vec4u(15u), low, high)`).join(", ")});
    }`,
      scales: () =>
        range(across)
          .map((v) => `let scales${v} = right_scales(col + ${4 * v}u, kb);`)
          .join(" "),
      block: (v) => `right_coded(col + ${4 * v}u, k, scales${v}, low, high)`,
    };
  // along rows: blocks hold 32 columns or more; each lane looks up the scales of four depths, for every 32 of the columns.
  // (With a step of 8, one depth per lane, the loop inside would turn twice: measured 1.4 times slower.)
  const parts = range(Math.max(1, (4 * across * lanes) / 32));
  const held = parts.map((g) => `subgroupShuffle(part${g}, (k - kb) >> 2u)`);
  const own = held.slice(1).reduce((chosen, s, g) => `select(${chosen}, ${s}, part_of_lane > ${g}u)`, held[0]!);
  return {
    ...look,
    step: `${4 * lanes}u`,
    prepare: `${look.prepare} let part_of_lane = (lane * ${4 * across}u) >> 5u;`,
    functions: `${look.functions}
    fn right_scales(i: u32, k: u32, k_end: u32) -> vec4f {
      let column = min(i, p.cols - 1u);
      return vec4f(${range(4)
        .map((j) => `right_scale((min(k + ${j}u, k_end - 1u) * p.right_stride + column) >> right[1])`)
        .join(", ")});
    }
    fn right_line(i: u32, k: u32, scale: f32, low: f32, high: f32) -> vec4f {
      let e = k * p.right_stride + i;
      let half = right[right[0] + (e >> 3u)] >> ((e & 4u) * 4u);
      return scale * right_look((vec4u(half) >> vec4u(4u, 0u, 12u, 8u)) & vec4u(15u), low, high);
    }
    fn right_coded(i: u32, k: u32, k_end: u32, scales: vec4f, low: f32, high: f32) -> Block {
      let column = min(i, p.cols - 4u);
      return Block(${["x", "y", "z", "w"]
        .map((c, j) => `right_line(column, min(k + ${j}u, k_end - 1u), scales.${c}, low, high)`)
        .join(", ")});
    }`,
    scales: (end) =>
      parts.map((g) => `let part${g} = right_scales(col0 + ${32 * g}u, kb + 4u * lane, ${end});`).join(" "),
    block: (v, end) => `right_coded(col + ${4 * v}u, k, ${end}, ${own}, low, high)`,
  };
}

/** WGSL: `right_look(codes, low, high)`, where each lane brings its part of the table. */
function lookUp(format: FourBitFormat, lanes: number): Pick<FourBitLoop, "functions" | "prepare"> {
  const one = (c: string): string =>
    lanes >= 16
      ? `subgroupShuffle(low, codes.${c})`
      : `select(subgroupShuffle(low, codes.${c} & 7u), subgroupShuffle(high, codes.${c} & 7u), codes.${c} > 7u)`;
  const body = lanes < 8 ? fourBitTable(format) : `return vec4f(${["x", "y", "z", "w"].map(one).join(", ")});`;
  return {
    functions: `fn right_look(codes: vec4u, low: f32, high: f32) -> vec4f { ${body} }`,
    prepare: `let low = right_value(vec4u(lane & ${lanes >= 16 ? 15 : 7}u)).x; let high = right_value(vec4u(8u + (lane & 7u))).x;`,
  };
}
