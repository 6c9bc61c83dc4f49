// Moments in eight bits, as bitsandbytes keeps them: blocks of 256 elements with the largest magnitude of each, and per
// element the nearest of 256 values.

import { dynamicMap, state } from "@tunesmith/tensor";
import type { Device, Tensor } from "@tunesmith/tensor";
import { QUANTIZED_BLOCK } from "./layout.ts";

/** Parameters with fewer elements keep f32 moments (bitsandbytes: `min_8bit_size`). */
export const SMALLEST_QUANTIZED = 4096;

/** Both moments of a shard of n elements: 2 bytes and 1/32 byte per element. */
export interface QuantizedMoments {
  /** u32 [n/4]: a code per element, the first in the lowest byte; of the signed map */
  readonly m: Tensor<"u32">;
  /** likewise, of the unsigned map */
  readonly v: Tensor<"u32">;
  /** f32 [n/256, 2]: largest magnitudes in a block of m and of v */
  readonly scales: Tensor<"f32">;
}

export function quantizedMoments(device: Device, size: number, shard: number): QuantizedMoments {
  const codes = (moment: string): Tensor<"u32"> =>
    state(device, { shape: [size / 4], dtype: "u32", category: "optimizer", label: `${moment} codes ${shard}` });
  const shape = [size / QUANTIZED_BLOCK, 2];
  return {
    m: codes("m"),
    v: codes("v"),
    scales: state(device, { shape, dtype: "f32", category: "optimizer", label: `scales ${shard}` }),
  };
}

/** What codes mean, f32 [4, 256]: the signed map, the borders between its values, the unsigned map and its borders. */
export function codeTables(device: Device): Tensor<"f32"> {
  const data = new Float32Array(4 * 256);
  for (const [i, signed] of [true, false].entries()) {
    const map = dynamicMap({ signed });
    data.set(map, 512 * i);
    for (let k = 0; k < 255; k++) data[512 * i + 256 + k] = Math.fround(map[k]! + map[k + 1]!) / 2;
  }
  return state(device, { shape: [4, 256], dtype: "f32", category: "optimizer", label: "code tables", data });
}
