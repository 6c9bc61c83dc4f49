// Matrices of four bits per element, as QLoRA stores its base (Dettmers et al. 2023, https://arxiv.org/abs/2305.14314)
// and bitsandbytes writes it: consecutive elements of the flattened matrix form blocks, an element is the value of its
// code times the block's scale. With double quantization the scales are themselves 8-bit codes of a 256-entry map,
// in groups of 256 with an f32 scale each, plus one offset.
//
// A shard is one vector of 32-bit words:
//   0  word where the elements start          4  offset of the scales, f32
//   1  log2 of the block size                 5  word where the scales start
//   2  1 if the scales are codes              6  word where the scales of the groups start
//   3  place of the first block in its group  7  0
// then, if the scales are codes, the map and the groups' scales as f32; then the scales (f32, or four codes per word,
// low byte first); then the elements, eight per word in the order of bitsandbytes' bytes, where the even element of a
// pair is the high half of its byte.

import type { FourBitFormat } from "./weight.ts";

const HEADER_WORDS = 8;
const MAP_ENTRIES = 256;
/** Blocks whose scales share a scale, with double quantization. */
export const BLOCKS_PER_GROUP = 256;
/** Sizes a block may have: powers of two in this range. */
export const BLOCK_SIZES: { readonly least: 32; readonly most: 4096 } = { least: 32, most: 4096 };

/** The values of the sixteen codes, in f32. */
export const FOUR_BIT_VALUES: Readonly<Record<FourBitFormat, readonly number[]>> = {
  // quantiles of the normal distribution, bitsandbytes' `get_4bit_type("nf4")`
  nf4: [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
  ],
  // a sign, two bits of exponent, one of fraction, divided by 12; the second zero is positive too
  fp4: [0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3].map((v) => Math.fround(v / 12)),
};

/** The scales of a matrix's blocks. */
export interface BlockScales {
  readonly blockSize: number;
  /** f32 per block; or codes, see `group` */
  readonly scales: Float32Array | Uint8Array;
  /** with double quantization: scale = map[code] · scales[block / 256] + offset */
  readonly group?: { readonly map: Float32Array; readonly scales: Float32Array; readonly offset: number };
}

/** Where the parts of a shard lie, in words. */
export interface FourBitLayout {
  /** of the first block in its group */
  readonly place: number;
  readonly blocks: number;
  readonly groups: number;
  readonly groupScales: number;
  readonly scales: number;
  readonly elements: number;
  readonly words: number;
}

/**
 * @param shard.firstElement - of the whole matrix, at the border of a block
 * @param shard.elements - how many the shard has
 */
export function fourBitLayout(shard: {
  firstElement: number;
  elements: number;
  blockSize: number;
  doubleQuant: boolean;
}): FourBitLayout {
  const { firstElement, blockSize, doubleQuant } = shard;
  const blocks = Math.ceil(shard.elements / blockSize);
  const place = doubleQuant ? (firstElement / blockSize) % BLOCKS_PER_GROUP : 0;
  const groups = doubleQuant ? Math.ceil((place + blocks) / BLOCKS_PER_GROUP) : 0;
  const groupScales = HEADER_WORDS + (doubleQuant ? MAP_ENTRIES : 0);
  const scales = groupScales + groups;
  // at a multiple of 256 bytes: a view may begin there
  const elements = Math.ceil((scales + (doubleQuant ? Math.ceil(blocks / 4) : blocks)) / 64) * 64;
  return { place, blocks, groups, groupScales, scales, elements, words: elements + Math.ceil(shard.elements / 8) };
}

/**
 * All words of a shard but those of its elements, which start at `layout.elements`.
 * @param scales - of the whole matrix
 */
export function fourBitHead(layout: FourBitLayout, scales: BlockScales, firstElement: number): Uint32Array {
  const words = new Uint32Array(layout.elements);
  const floats = new Float32Array(words.buffer);
  const { group } = scales;
  const firstBlock = firstElement / scales.blockSize;
  words.set([layout.elements, Math.log2(scales.blockSize), group ? 1 : 0, layout.place]);
  words.set([layout.scales, layout.groupScales], 5);
  const own = scales.scales.subarray(firstBlock, firstBlock + layout.blocks);
  if (group) {
    const firstGroup = (firstBlock - layout.place) / BLOCKS_PER_GROUP;
    floats[4] = group.offset;
    floats.set(group.map, HEADER_WORDS);
    floats.set(group.scales.subarray(firstGroup, firstGroup + layout.groups), layout.groupScales);
    new Uint8Array(words.buffer).set(own, 4 * layout.scales);
  } else floats.set(own, layout.scales);
  return words;
}

/**
 * WGSL for a binding `b` of words: `b_value(codes)` gives the values of four codes, `b_scale(block)` a block's scale,
 * `b_four_bit_run(e)` four elements from `e` on, a multiple of four, and `b_four_bit(e)` a single one.
 */
export function fourBitWgsl(b: string, format: FourBitFormat): string {
  return `
    fn ${b}_scale(block: u32) -> f32 {
      if (${b}[2] == 0u) { return bitcast<f32>(${b}[${b}[5] + block]); }
      let code = (${b}[${b}[5] + (block >> 2u)] >> ((block & 3u) * 8u)) & 255u;
      let group = ${b}[${b}[6] + ((${b}[3] + block) >> 8u)];
      return bitcast<f32>(${b}[${HEADER_WORDS}u + code]) * bitcast<f32>(group) + bitcast<f32>(${b}[4]);
    }
    fn ${b}_value(codes: vec4u) -> vec4f {
      ${fourBitTable(format)}
    }
    fn ${b}_four_bit_run(e: u32) -> vec4f {
      let half = ${b}[${b}[0] + (e >> 3u)] >> ((e & 4u) * 4u);
      return ${b}_value((vec4u(half) >> vec4u(4u, 0u, 12u, 8u)) & vec4u(15u)) * ${b}_scale(e >> ${b}[1]);
    }
    fn ${b}_four_bit(e: u32) -> f32 {
      let byte = ${b}[${b}[0] + (e >> 3u)] >> ((e & 6u) * 4u);
      return ${b}_value(vec4u((byte >> (4u - 4u * (e & 1u))) & 15u)).x * ${b}_scale(e >> ${b}[1]);
    }`;
}

/** WGSL that returns any four elements, at the indices of vec4u `e`; `four` is the number 4 as the compiler cannot see it. */
export function fourBitGather(b: string, e: string, four: string): string {
  // rolled up (see MATMUL_PARAMS), because this is the rare way and four copies would be most of the compile time
  return `var codes = vec4u(0u);
      var scales = vec4f(0.0);
      var next = ${e};
      for (var i = 0u; i < ${four}; i++) {
        let at = next.x;
        let code = (${b}[${b}[0] + (at >> 3u)] >> ((at & 6u) * 4u + 4u - 4u * (at & 1u))) & 15u;
        codes = vec4u(codes.yzw, code);
        scales = vec4f(scales.yzw, ${b}_scale(at >> ${b}[1]));
        next = next.yzwx;
      }
      return ${b}_value(codes) * scales;`;
}

/**
 * WGSL that returns the values of four codes: a look-up by selection, bit by bit, because arrays indexed by a value that
 * differs between lanes are slow everywhere.
 */
export function fourBitTable(format: FourBitFormat): string {
  const lines = [0, 1, 2, 3].map((bit) => `let b${bit} = (codes & vec4u(${1 << bit}u)) != vec4u(0u);`);
  let level = FOUR_BIT_VALUES[format].map((v) => `vec4f(${f32Text(v)})`);
  for (let bit = 0; bit < 4; bit++) {
    const next: string[] = [];
    for (let i = 0; i < level.length; i += 2) next.push(`select(${level[i]}, ${level[i + 1]}, b${bit})`);
    level = next;
  }
  return `${lines.join(" ")}
      return ${level[0]};`;
}

/** The exact f32 as WGSL text. */
function f32Text(v: number): string {
  return Number.isInteger(v) ? `${v}.0` : String(v);
}
