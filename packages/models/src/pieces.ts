import type { TensorSource } from "@tunesmith/safetensors";

/** Bytes of a tensor that are held at one time. */
export const CHUNK_BYTES: number = 1 << 22;

/** Bytes `from` to `to` of a tensor, as it is stored. */
export async function* pieces(
  source: TensorSource,
  name: string,
  from: number,
  to: number,
): AsyncGenerator<Uint8Array> {
  for (let at = from; at < to; at += CHUNK_BYTES) yield source.readRange(name, at, Math.min(CHUNK_BYTES, to - at));
}
