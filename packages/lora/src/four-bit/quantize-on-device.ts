// Quantizes a matrix while it loads, piece by piece: at no time is more than a piece of the original in memory.

import { toF32 } from "@tunesmith/safetensors";
import {
  allocateFourBit,
  blockMaxima as blockMaximaKernel,
  elementCount,
  empty,
  encodeFourBit,
  launch,
  scope,
  upload,
  viewOf,
  writeFourBitScales,
} from "@tunesmith/tensor";
import type { DenseFormat, Device, Tensor, TensorData, Weight } from "@tunesmith/tensor";
import { FOUR_BIT_BOOKS } from "./code-book.ts";
import type { RowSource } from "./codec.ts";
import { blockMaxima, checkBlockSize, encodeBlocks, notFinite, quantizeScales } from "./quantize.ts";
import type { FourBitOptions } from "./quantize.ts";

const PIECE_BYTES = 2 ** 24;
/** Below this a GPU may flush x or 1 / maximum to zero: such pieces go through the host. */
const SMALLEST_ON_DEVICE = 2 ** -64;
/** Elements from which even a software device is faster than the host: it compiles kernels for half a second. */
const WORTH_TWO_PIPELINES = 2 ** 20;
const DTYPES = { f32: "F32", f16: "F16", bf16: "BF16" } as const;

/**
 * Reads a matrix and leaves it on the device in four bits. On a device that only plans nothing is read.
 * @throws LoraError `WEIGHT_NOT_FINITE`, `QUANT_INVALID`
 */
export async function quantizeOnDevice(device: Device, source: RowSource, options: FourBitOptions): Promise<Weight> {
  const { name, shape, format } = source;
  const { type, blockSize } = options;
  checkBlockSize(blockSize, name);
  const [, cols] = shape;
  const { weight, parts } = allocateFourBit(device, { ...options, shape, format: type, label: name });
  if (device.virtual) return weight;
  const maxima = new Float32Array(Math.ceil(elementCount(shape) / blockSize));
  const rowsAtOnce = pieceRows(cols, format, blockSize, Math.min(PIECE_BYTES, device.facts.maxBindingBytes));
  for (const [i, { tensor, layout, firstElement }] of parts.entries()) {
    const { firstRow, rows } = weight.shards[i]!;
    for (let row = 0; row < rows; row += rowsAtOnce) {
      const count = Math.min(rowsAtOnce, rows - row);
      const data = await source.rows(firstRow + row, count);
      const elements = viewOf(tensor, layout.elements + (row * cols) / 8, [Math.ceil((count * cols) / 8)]);
      const at = (firstElement + row * cols) / blockSize;
      maxima.set(await encodePiece(device, { name, format, data, elements }, options), at);
    }
  }
  const scales = quantizeScales(maxima, options);
  for (const part of parts) writeFourBitScales(part, scales);
  await device.idle();
  return weight;
}

interface Piece {
  readonly name: string;
  readonly format: DenseFormat;
  readonly data: TensorData<DenseFormat>;
  readonly elements: Tensor<"u32">;
}

/** Encodes whole blocks, or the end of a matrix; returns the maxima. */
async function encodePiece(device: Device, piece: Piece, options: FourBitOptions): Promise<Float32Array> {
  const { name, format, data, elements } = piece;
  const { blockSize } = options;
  const worthIt = !device.facts.software || data.length >= WORTH_TWO_PIPELINES;
  if (data.length % blockSize === 0 && worthIt) {
    const maxima = await encodeOnDevice(device, piece, options);
    if (maxima) return maxima;
  }
  const values = toF32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), DTYPES[format]);
  const maxima = blockMaxima(values, blockSize, name);
  const words = new Uint32Array(elements.size);
  new Uint8Array(words.buffer).set(encodeBlocks(values, maxima, options));
  elements.write(words);
  await device.idle(); // what waits in the queue is held twice
  return maxima;
}

/** Undefined where numbers are so small that the device may not keep them. */
function encodeOnDevice(
  device: Device,
  { name, format, data, elements }: Piece,
  { type, blockSize }: FourBitOptions,
): Promise<Float32Array | undefined> {
  const blocks = data.length / blockSize;
  return scope(device, async () => {
    const x = upload(device, [data.length], format, data);
    const out = empty(device, [blocks], "u32");
    launch(blockMaximaKernel, {
      spec: { format },
      params: { blocks, size: blockSize },
      reads: { x },
      writes: { maxima: out },
    });
    const maxima = new Float32Array((await out.read()).buffer);
    const bad = maxima.findIndex((v) => !Number.isFinite(v));
    if (bad >= 0) notFinite(name, bad * blockSize);
    if (maxima.some((v) => v < SMALLEST_ON_DEVICE)) return undefined;
    const { borders, codes } = FOUR_BIT_BOOKS[type];
    const packed = (from: number): number => codes.slice(from, from + 8).reduce((word, c, i) => word + c * 16 ** i, 0);
    const inverse = upload(
      device,
      [blocks],
      "f32",
      maxima.map((v) => 1 / v),
    );
    launch(encodeFourBit, {
      spec: { format },
      params: { words: data.length / 8, words_per_block: blockSize / 8, codes_low: packed(0), codes_high: packed(8) },
      reads: { x, inverse, borders: upload(device, [borders.length], "f32", borders) },
      updates: { elements },
    });
    await device.idle(); // what waits in the queue is held twice
    return maxima;
  });
}

/** Rows per piece: whole blocks that begin at a multiple of 256 bytes of the packed elements. */
function pieceRows(cols: number, format: DenseFormat, blockSize: number, bytes: number): number {
  const border = Math.max(512, blockSize);
  const step = border / gcd(border, cols);
  const bytesPerRow = cols * (format === "f32" ? 4 : 2);
  return Math.max(1, Math.floor(bytes / (bytesPerRow * step))) * step;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
