// Blockwise quantization on the host, to the bit what bitsandbytes 0.50 stores: scale = largest magnitude of a block,
// code = nearest value to x · (1 / scale), borders belong to the lower value.
// Dettmers et al. 2023, "QLoRA", https://arxiv.org/abs/2305.14314

import { BLOCK_SIZES, BLOCKS_PER_GROUP, dynamicMap, FOUR_BIT_VALUES } from "@tunesmith/tensor";
import type { BlockScales, FourBitFormat } from "@tunesmith/tensor";
import { LoraError } from "../errors.ts";
import { codeBook, FOUR_BIT_BOOKS, nearestCode } from "./code-book.ts";
import { torchMean } from "./torch-mean.ts";

export interface FourBitOptions {
  readonly type: FourBitFormat;
  /** a power of two from 32 to 4096; bitsandbytes' default is 64 */
  readonly blockSize: number;
  /** store the scales as 8-bit codes */
  readonly doubleQuant: boolean;
}

/** A quantized matrix or vector. */
export interface FourBitData {
  /** two codes per byte, the even element in the high half; a missing last one is the code of 0 */
  readonly elements: Uint8Array;
  readonly scales: BlockScales;
}

/** The least scale that is divided by; smaller blocks decode to nearly 0. */
const TINY = Math.fround(1e-38);

/** @throws LoraError `QUANT_INVALID` for a block size that is no power of two from 32 to 4096 */
export function checkBlockSize(blockSize: number, where: string): void {
  const { least, most } = BLOCK_SIZES;
  if (blockSize >= least && blockSize <= most && Number.isInteger(Math.log2(blockSize))) return;
  throw new LoraError("QUANT_INVALID", `${where}: the block size is ${blockSize}`, {
    received: String(blockSize),
    expected: `a power of two from ${least} to ${most}`,
    fix: "use 64, the usual size",
  });
}

/**
 * Quantizes all elements, row-major across rows.
 * @param name - for errors
 * @throws LoraError `WEIGHT_NOT_FINITE`, `QUANT_INVALID`
 */
export function quantizeFourBit(values: Float32Array, options: FourBitOptions, name: string): FourBitData {
  const absmax = blockMaxima(values, options.blockSize, name);
  return {
    elements: encodeBlocks(values, absmax, options),
    scales: quantizeScales(absmax, options),
  };
}

/**
 * The largest magnitude of each block, f32.
 * @throws LoraError `WEIGHT_NOT_FINITE`
 */
export function blockMaxima(values: Float32Array, blockSize: number, name: string): Float32Array {
  checkBlockSize(blockSize, name);
  const absmax = new Float32Array(Math.ceil(values.length / blockSize));
  for (let block = 0; block < absmax.length; block++) {
    const end = Math.min(values.length, (block + 1) * blockSize);
    let most = 0;
    for (let i = block * blockSize; i < end; i++) {
      const magnitude = Math.abs(values[i]!);
      if (magnitude > most) most = magnitude;
      else if (Number.isNaN(magnitude)) notFinite(name, i);
    }
    if (most === Infinity) notFinite(name, block * blockSize);
    absmax[block] = most;
  }
  // as bitsandbytes does for a short last block
  if (values.length % blockSize !== 0) absmax[absmax.length - 1] = Math.max(absmax.at(-1)!, TINY);
  return absmax;
}

/** @throws LoraError `WEIGHT_NOT_FINITE` */
export function notFinite(name: string, at: number): never {
  throw new LoraError(
    "WEIGHT_NOT_FINITE",
    `${name}: a value near element ${at} is not finite and has no four-bit code`,
    {
      path: name,
      expected: "finite weights",
      fix: "get the model again, or repair it; NaN and Inf would spread to every output",
    },
  );
}

/** Codes of all elements, packed. */
export function encodeBlocks(
  values: Float32Array,
  absmax: Float32Array,
  { type, blockSize }: Pick<FourBitOptions, "type" | "blockSize">,
): Uint8Array {
  const code = nearestCode(FOUR_BIT_BOOKS[type]);
  const bytes = new Uint8Array(Math.ceil(values.length / 2));
  const n = values.length;
  for (let block = 0; block < absmax.length; block++) {
    const first = block * blockSize;
    const end = first + blockSize;
    const scale = Math.max(absmax[block]!, TINY);
    const inverse = Math.fround(1 / scale);
    // a short last block is divided, not multiplied: the two may round apart
    const scaled =
      end <= n
        ? (i: number): number => clamp(Math.fround(values[i]! * inverse))
        : (i: number): number => (i < n ? clamp(Math.fround(values[i]! / scale)) : 0);
    for (let i = first; i < Math.min(end, n); i += 2) bytes[i >> 1] = (code(scaled(i)) << 4) | code(scaled(i + 1));
  }
  return bytes;
}

function clamp(x: number): number {
  return x > 1 ? 1 : x < -1 ? -1 : x;
}

/** The scales as they are stored: plain, or as codes of the dynamic map around their mean. */
export function quantizeScales(
  absmax: Float32Array,
  { blockSize, doubleQuant }: Pick<FourBitOptions, "blockSize" | "doubleQuant">,
): BlockScales {
  if (!doubleQuant) return { blockSize, scales: absmax };
  const map = dynamicMap();
  const code = nearestCode(codeBook(map));
  const offset = torchMean(absmax);
  const scales = new Uint8Array(absmax.length);
  const groupScales = new Float32Array(Math.ceil(absmax.length / BLOCKS_PER_GROUP));
  for (let group = 0; group < groupScales.length; group++) {
    const first = group * BLOCKS_PER_GROUP;
    const centred = absmax.slice(first, first + BLOCKS_PER_GROUP).map((v) => v - offset);
    const most = centred.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    const whole = centred.length === BLOCKS_PER_GROUP;
    groupScales[group] = whole ? most : Math.max(most, TINY);
    const scale = Math.max(most, TINY);
    const inverse = Math.fround(1 / scale);
    centred.forEach((v, i) => (scales[first + i] = code(clamp(Math.fround(whole ? v * inverse : v / scale)))));
  }
  return { blockSize, scales, group: { map, scales: groupScales, offset } };
}

/** The scale of each block, f32. */
export function blockScales({ scales, group }: BlockScales): Float32Array {
  if (!group) return Float32Array.from(scales);
  return Float32Array.from(scales, (code, block) =>
    Math.fround(Math.fround(group.map[code]! * group.scales[Math.floor(block / BLOCKS_PER_GROUP)]!) + group.offset),
  );
}

/** The first `count` elements that the codes mean, f32. */
export function dequantizeFourBit({ elements, scales }: FourBitData, type: FourBitFormat, count: number): Float32Array {
  const table = FOUR_BIT_VALUES[type];
  const scale = blockScales(scales);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const byte = elements[i >> 1]!;
    values[i] = table[i % 2 === 0 ? byte >> 4 : byte & 15]! * scale[Math.floor(i / scales.blockSize)]!;
  }
  return values;
}
