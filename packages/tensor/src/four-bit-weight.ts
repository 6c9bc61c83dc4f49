// Four-bit matrices on a device: allocated in row shards, filled with scales and elements from wherever they come.

import type { Device } from "./device.ts";
import { ShapeError } from "./errors.ts";
import { fourBitHead, fourBitLayout } from "./four-bit.ts";
import type { BlockScales, FourBitLayout } from "./four-bit.ts";
import { weightShards } from "./shards.ts";
import { state, viewOf } from "./tensor.ts";
import type { Tensor } from "./tensor.ts";
import type { FourBitFormat, Weight } from "./weight.ts";

/** Bytes written to the queue at once: what waits there is held twice. */
const PIECE_BYTES = 2 ** 24;

/** A shard to fill. */
export interface FourBitShard {
  readonly tensor: Tensor<"u32">;
  readonly layout: FourBitLayout;
  /** index in the whole matrix */
  readonly firstElement: number;
  readonly elements: number;
}

/** Allocates a matrix of zeros without scales. `doubleQuant`: its scales will be codes. */
export function allocateFourBit(
  device: Device,
  matrix: {
    shape: readonly [rows: number, cols: number];
    format: FourBitFormat;
    blockSize: number;
    doubleQuant: boolean;
    label: string;
  },
): { weight: Weight; parts: FourBitShard[] } {
  const { shape, format, label } = matrix;
  const parts: FourBitShard[] = [];
  const shards = weightShards(shape, matrix, device.facts.maxBindingBytes).map(({ firstRow, rows }) => {
    const firstElement = firstRow * shape[1];
    const elements = rows * shape[1];
    const layout = fourBitLayout({ ...matrix, firstElement, elements });
    const tensor = state(device, { shape: [layout.words], dtype: "u32", category: "weights", label });
    parts.push({ tensor, layout, firstElement, elements });
    return { tensor, firstRow, rows };
  });
  return { weight: { shape, format, shards }, parts };
}

/**
 * Writes the scales of a shard.
 * @param scales - of the whole matrix
 */
export function writeFourBitScales({ tensor, layout, firstElement }: FourBitShard, scales: BlockScales): void {
  viewOf(tensor, 0, [layout.elements]).write(fourBitHead(layout, scales, firstElement));
}

/**
 * Puts a four-bit matrix on a device and waits for it, so that no second matrix waits in the queue.
 *
 * @param matrix.elements - bytes [first, end) of the packed elements: two per byte, the even one in the high half
 * @throws ShapeError if there are not as many scales as blocks
 */
export async function fourBitWeight(
  device: Device,
  matrix: {
    shape: readonly [rows: number, cols: number];
    format: FourBitFormat;
    scales: BlockScales;
    elements: (first: number, end: number) => Promise<Uint8Array>;
    label: string;
  },
): Promise<Weight> {
  const { shape, scales, label } = matrix;
  const blocks = Math.ceil((shape[0] * shape[1]) / scales.blockSize);
  if (scales.scales.length !== blocks)
    throw new ShapeError({
      op: "fourBitWeight",
      arg: "scales",
      received: [scales.scales.length],
      expected: [blocks],
      because: `${label} is [${shape.join(", ")}] in blocks of ${scales.blockSize}`,
    });
  const { blockSize, group } = scales;
  const { weight, parts } = allocateFourBit(device, { ...matrix, blockSize, doubleQuant: group !== undefined });
  for (const part of parts) {
    writeFourBitScales(part, scales);
    const first = part.firstElement / 2;
    const end = Math.ceil((part.firstElement + part.elements) / 2);
    for (let at = first; at < end; at += PIECE_BYTES) {
      const bytes = await matrix.elements(at, Math.min(end, at + PIECE_BYTES));
      const words = new Uint32Array(Math.ceil(bytes.length / 4));
      new Uint8Array(words.buffer).set(bytes);
      viewOf(part.tensor, part.layout.elements + (at - first) / 4, [words.length]).write(words);
      await device.idle();
    }
  }
  return weight;
}
