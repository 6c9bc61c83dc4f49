// Writes a checkpoint with its projections in four bits, tensor by tensor as bitsandbytes serializes them. The weights are read
// twice: a header names all sizes before the first byte of data, and a quant_state's size depends on its offset.

import type { Files } from "@tunesmith/core";
import { toF32, writeSafetensors } from "@tunesmith/safetensors";
import type { Dtype, TensorInfo, TensorSource, TensorToWrite } from "@tunesmith/safetensors";
import { BLOCKS_PER_GROUP, FOUR_BIT_VALUES } from "@tunesmith/tensor";
import type { BlockScales } from "@tunesmith/tensor";
import { LoraError } from "../errors.ts";
import { bitsandbytesNames } from "./bitsandbytes.ts";
import { blockMaxima, checkBlockSize, encodeBlocks, quantizeScales } from "./quantize.ts";
import type { FourBitOptions } from "./quantize.ts";

/** names of dtypes in torch */
const TORCH: Partial<Record<Dtype, string>> = { F32: "float32", F16: "float16", BF16: "bfloat16" };
const PIECE_ELEMENTS = 2 ** 22; // a multiple of every block size

/**
 * Writes a plain checkpoint with some of its matrices in four bits; all other tensors are copied.
 *
 * @param path - of the safetensors file to write
 * @returns bytes of all quantized matrices together, and how many elements they have
 * @throws LoraError `WEIGHT_NOT_FINITE`, `QUANT_INVALID`, `QUANT_TENSOR_MISSING`, `QUANT_TENSOR_MISMATCH`
 */
export async function writeBitsandbytes(
  files: Files,
  path: string,
  source: TensorSource,
  projections: ReadonlySet<string>,
  options: FourBitOptions,
): Promise<{ bytes: number; elements: number }> {
  checkBlockSize(options.blockSize, path);
  const { tensors, ...total } = await quantizedTensors(
    source,
    new Map([...projections].map((p) => [p, options])),
    path,
  );
  for (const [name, { dtype, shape, start, end }] of source.tensors)
    if (!projections.has(name)) tensors.set(name, { dtype, shape, data: () => copied(source, name, end - start) });
  await writeSafetensors(files, path, tensors, new Map([["format", "pt"]]));
  return total;
}

/**
 * The tensors of matrices in four bits, each encoded when its turn to be written comes.
 *
 * @param source - holds the matrices as plain tensors; read twice
 * @param matrices - how each shall be stored, by name; `dtype`: what bitsandbytes is to decode it to, default its own
 * @param path - of the file they are for, named in errors
 */
export async function quantizedTensors(
  source: TensorSource,
  matrices: ReadonlyMap<string, FourBitOptions & { readonly dtype?: string }>,
  path: string,
): Promise<{ tensors: Map<string, TensorToWrite>; bytes: number; elements: number }> {
  const tensors = new Map<string, TensorToWrite>();
  const total = { bytes: 0, elements: 0 };
  for (const [name, options] of matrices) {
    const info = source.tensors.get(name);
    if (!info)
      throw new LoraError("QUANT_TENSOR_MISSING", `writing ${path}: the checkpoint has no tensor ${name}`, {
        path,
        expected: name,
        fix: "check that config.json belongs to these weights",
      });
    const own = TORCH[info.dtype];
    if (own === undefined || info.shape.length !== 2)
      throw new LoraError(
        "QUANT_TENSOR_MISMATCH",
        `writing ${path}: ${name} is ${info.dtype} [${info.shape.join(", ")}], which cannot be quantized`,
        { path, received: info.dtype, expected: "a matrix in F32, F16 or BF16", fix: "use the original checkpoint" },
      );
    const scales = await matrixScales(source, name, info, options);
    const parts = matrixTensors(source, name, info, options, scales, options.dtype ?? own);
    for (const [key, part] of parts) tensors.set(key, part);
    total.elements += count(info);
    for (const part of parts.values()) total.bytes += part.shape.reduce((a, b) => a * b, part.dtype === "F32" ? 4 : 1);
  }
  return { tensors, ...total };
}

function count({ shape }: TensorInfo): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Elements of a tensor, widened, piece by piece. */
async function* pieces(source: TensorSource, name: string, info: TensorInfo): AsyncGenerator<Float32Array> {
  const width = info.dtype === "F32" ? 4 : 2;
  for (let at = 0; at < count(info); at += PIECE_ELEMENTS) {
    const length = Math.min(PIECE_ELEMENTS, count(info) - at);
    yield toF32(await source.readRange(name, at * width, length * width), info.dtype);
  }
}

async function matrixScales(
  source: TensorSource,
  name: string,
  info: TensorInfo,
  options: FourBitOptions,
): Promise<{ maxima: Float32Array; stored: BlockScales }> {
  const maxima = new Float32Array(Math.ceil(count(info) / options.blockSize));
  let at = 0;
  for await (const piece of pieces(source, name, info)) {
    const found = blockMaxima(piece, options.blockSize, name);
    maxima.set(found, at);
    at += found.length;
  }
  return { maxima, stored: quantizeScales(maxima, options) };
}

/** The tensors of one matrix, in bitsandbytes' shapes. */
function matrixTensors(
  source: TensorSource,
  name: string,
  info: TensorInfo,
  options: FourBitOptions,
  { maxima, stored: { scales, group } }: { maxima: Float32Array; stored: BlockScales },
  dtype: string,
): Map<string, TensorToWrite> {
  const { type, blockSize } = options;
  const names = bitsandbytesNames(name, type);
  const f32 = (values: Float32Array): TensorToWrite => ({
    dtype: "F32",
    shape: [values.length],
    data: bytesOf(values),
  });
  const state: Record<string, unknown> = { quant_type: type, blocksize: blockSize, dtype, shape: info.shape };
  if (group)
    Object.assign(state, {
      nested_blocksize: BLOCKS_PER_GROUP,
      nested_dtype: "float32",
      nested_offset: group.offset,
    });
  const text = new TextEncoder().encode(pythonJson(state));
  async function* elements(): AsyncGenerator<Uint8Array> {
    let block = 0;
    for await (const piece of pieces(source, name, info)) {
      const blocks = Math.ceil(piece.length / blockSize);
      yield encodeBlocks(piece, maxima.subarray(block, block + blocks), options);
      block += blocks;
    }
  }
  const parts = new Map<string, TensorToWrite>([
    [name, { dtype: "U8", shape: [Math.ceil(count(info) / 2), 1], data: elements }],
    [
      names.absmax,
      scales instanceof Float32Array ? f32(scales) : { dtype: "U8", shape: [scales.length], data: scales },
    ],
    [names.map, f32(Float32Array.from(FOUR_BIT_VALUES[type]))],
    [names.state, { dtype: "U8", shape: [text.length], data: text }],
  ]);
  if (group) parts.set(names.groupScales, f32(group.scales)).set(names.groupMap, f32(group.map));
  return parts;
}

/** As Python's `json.dumps` spaces it. */
function pythonJson(value: Record<string, unknown>): string {
  const items = Object.entries(value).map(([key, item]) => {
    const text = Array.isArray(item) ? `[${item.join(", ")}]` : JSON.stringify(item);
    return `${JSON.stringify(key)}: ${text}`;
  });
  return `{${items.join(", ")}}`;
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

async function* copied(source: TensorSource, name: string, bytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes; at += 4 * PIECE_ELEMENTS)
    yield await source.readRange(name, at, Math.min(4 * PIECE_ELEMENTS, bytes - at));
}
