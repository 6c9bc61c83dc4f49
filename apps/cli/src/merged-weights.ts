// Weights that were formed from a base's, in the same files as the base has.

import type { Files } from "@tunesmith/core";
import { type SafetensorsModel, type TensorToWrite, writeSafetensors } from "@tunesmith/safetensors";

const INDEX = "model.safetensors.index.json";
const BYTES: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2 };

/** @param beside - the tensor of the base whose file takes tensors that the base does not have */
export async function writeLikeBase(
  files: Files,
  folder: string,
  base: SafetensorsModel,
  tensors: ReadonlyMap<string, TensorToWrite>,
  beside: string,
): Promise<void> {
  const fileOf = (name: string): string => (base.tensors.get(name) ?? base.tensors.get(beside)!).file;
  for (const shard of base.shards) {
    const own = new Map([...tensors].filter(([name]) => fileOf(name) === shard));
    await writeSafetensors(files, files.join(folder, shard), own, new Map([["format", "pt"]]));
  }
  if (base.shards.length < 2) return;
  const text = new TextEncoder().encode(indexText(base, tensors, fileOf));
  await files.writeAtomic(files.join(folder, INDEX), [text]);
}

function indexText(
  base: SafetensorsModel,
  tensors: ReadonlyMap<string, TensorToWrite>,
  fileOf: (name: string) => string,
): string {
  let total = 0;
  const files: Record<string, string> = {};
  for (const [name, { dtype, shape }] of tensors) {
    const width = BYTES[dtype];
    const stored = base.tensors.get(name);
    total += width === undefined ? stored!.end - stored!.start : shape.reduce((n, d) => n * d, width);
    files[name] = fileOf(name);
  }
  return `${JSON.stringify({ metadata: { total_size: total }, weight_map: files }, null, 2)}\n`;
}
