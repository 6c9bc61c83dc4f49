// A trained model as a Hugging Face folder: the tensors of its base under the same names, those that were trained in the
// base's place. Weights only: config.json and the tokenizer are copied by whoever knows what belongs to them.

import type { Files } from "@tunesmith/core";
import { fromF32, type TensorToWrite, writeSafetensors } from "@tunesmith/safetensors";
import { openChecked } from "./checkpoint.ts";
import { parameterShapes } from "./parameters.ts";
import { pieces } from "./pieces.ts";

/** Where the values of trained parameters come from. */
export interface TrainedValues {
  has(name: string): boolean;
  /** all elements, row-major; asked for once, when their turn to be written comes */
  read(name: string): Promise<Float32Array>;
}

/** What Hugging Face calls a shard that is large enough. */
const SHARD_BYTES = 5e9;

/**
 * Writes `model.safetensors`, or shards of at most 5 GB with their index. At most one tensor is in memory. A head that is
 * tied to the embedding is not written; buffers that a checkpoint may hold (GPT-2's masks) are left out.
 *
 * @param folder - the base
 * @param out - folder that exists
 * @param options.exact - trained tensors as f32, which is what they are; default: each rounded once to its dtype in the base
 * @param options.shardBytes - at most so many bytes a file, one tensor at least
 * @throws whatever `loadModel` throws for the base before the first weight is read
 */
export async function writeTrainedModel(
  files: Files,
  folder: string,
  out: string,
  trained: TrainedValues,
  { exact = false, shardBytes = SHARD_BYTES }: { readonly exact?: boolean; readonly shardBytes?: number } = {},
): Promise<void> {
  const { config, tensors } = await openChecked(files, folder);
  try {
    const shards: { bytes: number; tensors: Map<string, TensorToWrite> }[] = [];
    let total = 0;
    for (const [name, shape] of parameterShapes(config)) {
      const { dtype: stored, start, end } = tensors.tensors.get(name)!;
      const own = trained.has(name);
      const dtype = own && exact ? "F32" : (stored as "F32" | "F16" | "BF16"); // checked by openChecked
      const bytes = dtype === stored ? end - start : 4 * shape.reduce((size, extent) => size * extent, 1);
      const data = async function* (): AsyncGenerator<Uint8Array> {
        if (own) yield fromF32(await trained.read(name), dtype);
        else yield* pieces(tensors, name, 0, end - start);
      };
      let shard = shards.at(-1);
      if (!shard || shard.bytes + bytes > shardBytes) shards.push((shard = { bytes: 0, tensors: new Map() }));
      shard.tensors.set(name, { dtype, shape, data });
      shard.bytes += bytes;
      total += bytes;
    }
    const nameOf = (i: number): string => {
      const five = (n: number): string => String(n).padStart(5, "0");
      return shards.length === 1 ? "model.safetensors" : `model-${five(i + 1)}-of-${five(shards.length)}.safetensors`;
    };
    for (const [i, shard] of shards.entries())
      await writeSafetensors(files, files.join(out, nameOf(i)), shard.tensors, new Map([["format", "pt"]]));
    if (shards.length === 1) return;
    const map = shards.flatMap((shard, i) => [...shard.tensors.keys()].map((name) => [name, nameOf(i)]));
    const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(map) as Record<string, string> };
    await files.writeAtomic(files.join(out, "model.safetensors.index.json"), [
      new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`),
    ]);
  } finally {
    await tensors.close();
  }
}
