// Blockwise quantization to four bits, in two passes over the elements with the host between them: it forms 1 / maximum,
// because division in WGSL may be off by some units in the last place, and the codes must be exact.

import { defineKernel, GROUP_INDEX, MAIN_ARGS } from "../kernel.ts";
import type { Element, Kernel, Spec } from "../kernel.ts";
import type { DenseFormat } from "../weight.ts";
import { OPERAND_FORMATS } from "./matmul/operands.ts";

const LANES = 64;

const source = (spec: Spec): Element => OPERAND_FORMATS[spec["format"] as DenseFormat].aligned;
const fourOf = (spec: Spec): string =>
  `fn four(e: u32) -> vec4f { ${OPERAND_FORMATS[spec["format"] as DenseFormat].four("x", "e")} }`;

/**
 * x [blocks · size] in a dense format → maxima [blocks] u32: the bits of the largest f32 magnitude of each block.
 * Compared as integers, magnitudes keep their order, and NaN is above them all.
 */
export const blockMaxima: Kernel<"blocks" | "size", "x", "maxima", never> = defineKernel({
  label: "block_maxima",
  params: { blocks: "u32", size: "u32" },
  reads: { x: source },
  writes: { maxima: "u32" },
  workgroups: ({ blocks }) => Math.ceil(blocks / LANES),
  wgsl: (spec) => /* wgsl */ `
    ${fourOf(spec)}
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let block = group * ${LANES}u + lane;
      if (block >= p.blocks) { return; }
      var most = vec4u(0u);
      let first = block * p.size;
      for (var i = 0u; i < p.size; i += 4u) {
        most = max(most, bitcast<vec4u>(four(first + i)) & vec4u(0x7fffffffu));
      }
      let pair = max(most.xy, most.zw);
      maxima[block] = max(pair.x, pair.y);
    }`,
});

/**
 * x [8 · words] in a dense format, inverse [blocks] f32, borders [15] f32 ascending → elements [words] u32: eight codes
 * per word. The code of x · inverse is nibble r of (codes_high, codes_low), where r borders lie below it.
 */
export const encodeFourBit: Kernel<
  "words" | "words_per_block" | "codes_low" | "codes_high",
  "x" | "inverse" | "borders",
  never,
  "elements"
> = defineKernel({
  label: "encode_four_bit",
  params: { words: "u32", words_per_block: "u32", codes_low: "u32", codes_high: "u32" },
  reads: { x: source, inverse: "f32", borders: "f32" },
  updates: { elements: "u32" },
  workgroups: ({ words }) => Math.ceil(words / LANES),
  wgsl: (spec) => /* wgsl */ `
    ${fourOf(spec)}
    fn codes(v: vec4f) -> vec4u {
      var rank = vec4u(0u);
      for (var i = 0u; i < 15u; i++) { rank += select(vec4u(0u), vec4u(1u), v > vec4f(borders[i])); }
      let half = select(vec4u(p.codes_low), vec4u(p.codes_high), rank >= vec4u(8u));
      return (half >> ((rank & vec4u(7u)) * 4u)) & vec4u(15u);
    }
    @compute @workgroup_size(${LANES})
    fn main(${MAIN_ARGS}) {
      ${GROUP_INDEX}
      let word = group * ${LANES}u + lane;
      if (word >= p.words) { return; }
      let factor = inverse[word / p.words_per_block];
      let first = codes(four(word * 8u) * factor);
      let second = codes(four(word * 8u + 4u) * factor);
      elements[word] = (first.x << 4u) | first.y | (first.z << 12u) | (first.w << 8u)
        | (second.x << 20u) | (second.y << 16u) | (second.z << 28u) | (second.w << 24u);
    }`,
});
