// Queries, keys and values out of one projection, and back, with the rotary embedding (half-split layout, see rope.ts) on
// the way: a pass over memory less than splitting first and turning then.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Element, Kernel, ParamType, Spec } from "../kernel.ts";

const LANES = 64;

const element = (spec: Spec): Element => (spec["vectors"] === true ? "vec4f" : "f32");

type Params = "tokens" | "heads" | "kv_heads" | "width" | "stride" | "table_rows" | "turned";
const PARAMS: Readonly<Record<Params, ParamType>> = {
  tokens: "u32",
  heads: "u32",
  kv_heads: "u32",
  width: "u32",
  stride: "u32",
  table_rows: "u32",
  turned: "u32",
};

/** `main`: each lane carries its elements of all heads, one part after the other. */
function overHeads(direction: "split" | "join", spec: Spec): string {
  const sign = direction === "split" ? "" : "-";
  const part = (name: string, heads: string, before: string, turned: boolean): string => {
    const [to, at, from, source] =
      direction === "split" ? [name, "apart", "joined", "base"] : ["joined", "base", name, "apart"];
    return /* wgsl */ `
      for (var head = 0u; head < ${heads}; head++) {
        let base = (token * all + ${before} + head) * p.stride + i;
        let apart = (token * ${heads} + head) * p.stride + i;
        let a = ${from}[${source}];
        if (alone) { ${to}[${at}] = a; } else {
          let b = ${from}[${source} + p.width];
          ${to}[${at}] = ${turned ? "a * c - b * s" : "a"};
          ${to}[${at} + p.width] = ${turned ? "b * c + a * s" : "b"};
        }
      }`;
  };
  return /* wgsl */ `
    alias V = ${element(spec)};
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let index = group * ${LANES}u + lane;
      // a lane moves a pair, or one element of what is not turned
      let lanes = p.stride - p.width;
      let token = index / lanes;
      if (token >= p.tokens) { return; }
      let pair = index - token * lanes;
      let alone = pair >= p.width;
      let i = select(pair, pair + p.width, alone);
      let all = p.heads + 2u * p.kv_heads;
      var c = V(1.0);
      var s = V(0.0);
      if (p.turned != 0u && !alone) {
        let position = u32(clamp(positions[token], 0, i32(p.table_rows) - 1));
        c = cosines[position * p.width + i];
        s = ${sign}sines[position * p.width + i];
      }
      ${part("q", "p.heads", "0u", true)}
      ${part("k", "p.kv_heads", "p.heads", true)}
      ${part("v", "p.kv_heads", "p.heads + p.kv_heads", false)}
    }`;
}

const workgroups = ({ tokens, width, stride }: Readonly<Record<Params, number>>): number =>
  Math.ceil((tokens * (stride - width)) / LANES);

/**
 * joined [tokens, heads + 2 · kv_heads, headDim], positions [tokens], cosines, sines [table_rows, half] → q [tokens, heads,
 * headDim], k, v [tokens, kv_heads, headDim]; q and k turned as `ropeKernel` does it where turned is not 0. Spec: vectors,
 * true where four divides half and headDim; `width` and `stride` are half and headDim counted in elements of the binding.
 */
export const splitHeads: Kernel<Params, "joined" | "positions" | "cosines" | "sines", "q" | "k" | "v", never> =
  defineKernel({
    label: "split_heads",
    params: PARAMS,
    reads: { joined: element, positions: "i32", cosines: element, sines: element },
    writes: { q: element, k: element, v: element },
    workgroups,
    wgsl: (spec) => overHeads("split", spec),
  });

/** The transpose: gradients of q, k and v, turned back → that of the projection. */
export const joinHeads: Kernel<Params, "q" | "k" | "v" | "positions" | "cosines" | "sines", "joined", never> =
  defineKernel({
    label: "join_heads",
    params: PARAMS,
    reads: { q: element, k: element, v: element, positions: "i32", cosines: element, sines: element },
    writes: { joined: element },
    workgroups,
    wgsl: (spec) => overHeads("join", spec),
  });
