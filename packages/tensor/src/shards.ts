import { BYTES_PER_ELEMENT, byteSize } from "./dtype.ts";
import { TensorError } from "./errors.ts";
import { fourBitLayout } from "./four-bit.ts";
import type { DenseFormat, FourBitFormat } from "./weight.ts";

/** How a matrix is stored on a device, as far as its size depends on it. */
export type WeightEncoding =
  | { readonly format: DenseFormat }
  | { readonly format: FourBitFormat; readonly blockSize: number; readonly doubleQuant: boolean };

/** A row shard of a weight, before it exists. */
export interface ShardPlan {
  readonly firstRow: number;
  readonly rows: number;
  /** of its buffer */
  readonly bytes: number;
}

/**
 * The row shards of a matrix, each below `maxBindingBytes`: one if it fits, else of equal size, rounded to 64 rows so
 * that tiles stay whole, and to the borders of blocks.
 *
 * @throws TensorError `OUT_OF_MEMORY` where even the smallest shard exceeds the limit
 */
export function weightShards(
  [rows, cols]: readonly [number, number],
  encoding: WeightEncoding,
  maxBindingBytes: number,
): ShardPlan[] {
  const bytes = (firstRow: number, count: number): number => {
    if (!("blockSize" in encoding)) return byteSize([count, cols], encoding.format);
    const layout = fourBitLayout({ ...encoding, firstElement: firstRow * cols, elements: count * cols });
    return byteSize([layout.words], "u32");
  };
  if (bytes(0, rows) < maxBindingBytes) return [{ firstRow: 0, rows, bytes: bytes(0, rows) }];
  // rows between two borders where a shard may begin
  const step = "blockSize" in encoding ? encoding.blockSize / gcd(encoding.blockSize, cols) : 1;
  // bytes of a row, from above: with double quantization a shard brings a map, and may begin inside a group
  const bytesPerRow =
    "blockSize" in encoding ? (cols / 2) * (1 + 8 / encoding.blockSize) : cols * BYTES_PER_ELEMENT[encoding.format];
  const most = Math.floor((maxBindingBytes - 2048) / bytesPerRow);
  const wanted = Math.ceil(rows / Math.ceil(rows / most) / 64) * 64;
  const perShard = Math.floor(Math.min(most, Math.ceil(wanted / step) * step) / step) * step;
  if (!(perShard >= 1))
    throw new TensorError(
      "OUT_OF_MEMORY",
      `a matrix of [${rows}, ${cols}] in ${encoding.format} cannot be cut into shards of at most ${maxBindingBytes} bytes`,
      { expected: "rows that fit a binding", fix: "use a smaller block size" },
    );
  const shards: ShardPlan[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += perShard) {
    const count = Math.min(perShard, rows - firstRow);
    shards.push({ firstRow, rows: count, bytes: bytes(firstRow, count) });
  }
  return shards;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
