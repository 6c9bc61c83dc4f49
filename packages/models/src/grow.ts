// A model with more tokens: the embedding and the output head get a row for each. A new row is the mean of the rows that
// belong to tokens (Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models"): the new token then
// begins no likelier than the others, where a random row would take most of the probability or none.

import type { Files } from "@tunesmith/core";
import {
  type Dtype,
  fromF32,
  type TensorSource,
  type TensorToWrite,
  toF32,
  writeSafetensors,
} from "@tunesmith/safetensors";
import { architectureOf } from "./architectures/registry.ts";
import { openChecked } from "./checkpoint.ts";
import { ModelError } from "./errors.ts";
import { CHUNK_BYTES, pieces } from "./pieces.ts";

/** Which rows are new. */
export interface Growth {
  /** rows that belong to tokens; spare ones behind them, which many checkpoints have, are overwritten */
  readonly tokens: number;
  /** new tokens, whose rows are `tokens`, `tokens + 1`, … */
  readonly added: number;
}

const BYTES: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2 };

/** The mean of the first `count` rows, summed in float64 in the order of the rows: the same bytes on every computer. */
async function meanRow(
  source: TensorSource,
  name: string,
  dtype: Dtype,
  width: number,
  count: number,
): Promise<Float32Array> {
  const rowBytes = width * BYTES[dtype]!;
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes));
  const sum = new Float64Array(width);
  for (let row = 0; row < count; row += perChunk) {
    const rows = Math.min(perChunk, count - row);
    const values = toF32(await source.readRange(name, row * rowBytes, rows * rowBytes), dtype);
    for (let i = 0; i < values.length; i++) sum[i % width]! += values[i]!;
  }
  return Float32Array.from(sum, (total) => total / count);
}

/**
 * Writes the weights of a model folder with rows for new tokens, as one model.safetensors; the other tensors byte for byte.
 *
 * @param out - folder that exists
 * @returns the vocabulary size for the new config.json
 * @throws ModelError for a folder that does not load, or whose embedding or head is no plain matrix
 */
export async function writeGrownModel(files: Files, folder: string, out: string, growth: Growth): Promise<number> {
  const { config, tensors } = await openChecked(files, folder);
  try {
    const { names } = architectureOf(config.architecture)!;
    const vocabSize = Math.max(config.vocabSize, growth.tokens + growth.added);
    const grown = new Set([`${names.embedding}.weight`, `${names.head}.weight`, `${names.head}.bias`]);
    const written = new Map<string, TensorToWrite>();
    for (const [name, { dtype, shape, start, end }] of tensors.tensors) {
      if (!grown.has(name)) {
        written.set(name, { dtype, shape, data: () => pieces(tensors, name, 0, end - start) });
        continue;
      }
      const [rows, width = 1] = shape;
      if (BYTES[dtype] === undefined || rows !== config.vocabSize) refuse(folder, name, dtype, shape);
      const rowBytes = width * BYTES[dtype]!;
      const known = Math.min(growth.tokens, rows); // some tokenizers already have tokens that their model lacks
      const row = fromF32(await meanRow(tensors, name, dtype, width, known), dtype as "F32");
      const lastNew = (growth.tokens + growth.added) * rowBytes;
      written.set(name, {
        dtype,
        shape: shape.length === 1 ? [vocabSize] : [vocabSize, width],
        data: async function* (): AsyncGenerator<Uint8Array> {
          yield* pieces(tensors, name, 0, known * rowBytes);
          for (let i = known; i < growth.tokens + growth.added; i++) yield row;
          if (lastNew < end - start) yield* pieces(tensors, name, lastNew, end - start);
        },
      });
    }
    await writeSafetensors(files, files.join(out, "model.safetensors"), written, new Map([["format", "pt"]]));
    return vocabSize;
  } finally {
    await tensors.close();
  }
}

function refuse(folder: string, name: string, dtype: string, shape: readonly number[]): never {
  throw new ModelError("TENSOR_MISMATCH", `${folder}: ${name} cannot get rows for new tokens`, {
    path: folder,
    received: `${dtype} [${shape.join(", ")}]`,
    expected: "f32, f16 or bf16, with a row per token of the vocabulary",
    fix: "add tokens to the model before it is quantized",
  });
}
