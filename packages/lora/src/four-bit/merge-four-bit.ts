// An adapter merged into a base in four bits: the sum is rounded to the same blocks and codes again, which moves weights about as
// far as a fine-tune does. So it is measured on what was written.

import type { Files } from "@tunesmith/core";
import { openSafetensors, toF32, writeSafetensors } from "@tunesmith/safetensors";
import type { TensorInfo, TensorSource, TensorToWrite } from "@tunesmith/safetensors";
import { LoraError } from "../errors.ts";
import { mergeAdapter, type MergeOptions } from "../merge.ts";
import type { PeftAdapter } from "../peft.ts";
import { type BitsandbytesMatrix, findBitsandbytes } from "./bitsandbytes.ts";
import { quantizedTensors } from "./write-bitsandbytes.ts";

/** What rounding did. Norms are Frobenius'; W is the decoded base, ΔW the adapter's update, E what rounding added. */
export interface RoundingDamage {
  /** ‖E‖ / ‖W + ΔW‖ */
  readonly relativeError: number;
  /** ‖E‖ / ‖ΔW‖: above 1, rounding moved the weights further than the adapter did */
  readonly errorOverUpdate: number;
  /** max |E| */
  readonly maxError: number;
}

/**
 * Writes the tensors of the merged model as one file; matrices without an update keep their bytes.
 *
 * @param path - of the safetensors file to write
 * @param base - a checkpoint of bitsandbytes
 * @param options.where - folder of the base, named in errors
 * @throws LoraError `MERGE_UNSUPPORTED` where none of the adapter's targets is in four bits; as `mergeAdapter` and
 *   `findBitsandbytes` do
 */
export async function mergeIntoFourBit(
  files: Files,
  path: string,
  base: TensorSource,
  adapter: PeftAdapter,
  { where, ...options }: Omit<MergeOptions, "dtype"> & { readonly where: string },
): Promise<{ tensors: number; total: RoundingDamage; modules: Map<string, RoundingDamage> }> {
  const matrices = new Map<string, BitsandbytesMatrix>();
  for (const target of adapter.targets) {
    const { in: ins, out: outs, layout } = options.sizes.get(target)!;
    if (layout === "in_out") continue; // bitsandbytes turns those; mergeAdapter refuses them
    const found = await findBitsandbytes(base, `${target}.weight`, [outs, ins], where);
    if (found) matrices.set(`${target}.weight`, found);
  }
  if (matrices.size === 0)
    throw new LoraError("MERGE_UNSUPPORTED", `${where}: none of the adapter's targets is stored in four bits`, {
      path: where,
      received: "plain weights",
      expected: "a checkpoint of bitsandbytes",
      fix: "merge without asking to quantize again",
    });
  const merged = mergeAdapter(decodedSource(base, matrices), adapter, options);
  const formed = formedSource(merged, matrices);
  const { tensors } = await quantizedTensors(formed, matrices, path);
  await writeSafetensors(files, path, new Map([...merged, ...tensors]), new Map([["format", "pt"]]));

  const written = await openSafetensors(files, path);
  try {
    const modules = new Map<string, RoundingDamage>();
    const total = new Sums();
    for (const [name, { f32, shape }] of matrices) {
      const sums = new Sums();
      const stored = await (await findBitsandbytes(written, name, shape, path))!.f32();
      sums.add(await f32(), toF32(await formed.read(name), "F32"), stored);
      total.join(sums);
      modules.set(name.replace(/\.weight$/, ""), sums.damage);
    }
    return { tensors: written.tensors.size, total: total.damage, modules };
  } finally {
    await written.close();
  }
}

/** Squared norms. */
class Sums {
  #update = 0;
  #error = 0;
  #whole = 0;
  #most = 0;

  add(before: Float32Array, exact: Float32Array, stored: Float32Array): void {
    for (let i = 0; i < exact.length; i++) {
      const error = stored[i]! - exact[i]!;
      this.#update += (exact[i]! - before[i]!) ** 2;
      this.#error += error ** 2;
      this.#whole += exact[i]! ** 2;
      this.#most = Math.max(this.#most, Math.abs(error));
    }
  }

  join(other: Sums): void {
    this.#update += other.#update;
    this.#error += other.#error;
    this.#whole += other.#whole;
    this.#most = Math.max(this.#most, other.#most);
  }

  get damage(): RoundingDamage {
    return {
      relativeError: Math.sqrt(this.#error / this.#whole),
      errorOverUpdate: Math.sqrt(this.#error / this.#update),
      maxError: this.#most,
    };
  }
}

type Matrices = ReadonlyMap<string, BitsandbytesMatrix>;

const plain = ({ shape }: BitsandbytesMatrix): TensorInfo => ({
  dtype: "F32",
  shape,
  start: 0,
  end: 4 * shape[0] * shape[1],
});

/** The checkpoint as if those matrices were plain, in f32; the others stay as they are stored. */
function decodedSource(base: TensorSource, matrices: Matrices): TensorSource {
  const parts = new Set([...matrices.values()].flatMap((matrix) => matrix.tensors));
  const tensors = new Map([...base.tensors].filter(([name]) => !parts.has(name)));
  for (const [name, matrix] of matrices) tensors.set(name, plain(matrix));
  const read = async (name: string): Promise<Uint8Array> => {
    const values = await matrices.get(name)?.f32();
    return values ? new Uint8Array(values.buffer) : base.read(name);
  };
  return { tensors, read, readRange: (name, at, length) => base.readRange(name, at, length), close: async () => {} };
}

/** The merged matrices as a source; the last one that was formed stays in memory, for whoever reads it in pieces. */
function formedSource(merged: ReadonlyMap<string, TensorToWrite>, matrices: Matrices): TensorSource {
  let last: { readonly name: string; readonly bytes: Uint8Array } | undefined;
  const read = async (name: string): Promise<Uint8Array> => {
    if (last?.name !== name) {
      const { data } = merged.get(name)!;
      const bytes = new Uint8Array(plain(matrices.get(name)!).end);
      let at = 0;
      for await (const piece of data instanceof Uint8Array ? [data] : data()) {
        bytes.set(piece, at);
        at += piece.length;
      }
      last = { name, bytes };
    }
    return last.bytes;
  };
  return {
    tensors: new Map([...matrices].map(([name, matrix]) => [name, plain(matrix)])),
    read,
    readRange: async (name, at, length) => (await read(name)).subarray(at, at + length),
    close: async () => {},
  };
}
