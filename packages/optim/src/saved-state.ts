// What a checkpoint keeps of an optimizer, as bytes.

import { Tensor } from "@tunesmith/tensor";
import type { DType } from "@tunesmith/tensor";

/** A piece of an optimizer's state of one parameter, as checkpoints keep it. */
export interface SavedState {
  readonly dtype: "F32" | "U8";
  /** number of elements */
  readonly size: number;
  /** little-endian bytes */
  read(): Promise<Uint8Array>;
  write(bytes: Uint8Array): void;
}

/** Elements `start` … of a tensor for the host, which may read and write at any word. */
export function words<D extends DType>(tensor: Tensor<D>, start: number, size: number): Tensor<D> {
  const { device, dtype, storage, byteOffset } = tensor;
  return new Tensor(device, [size], dtype, storage, byteOffset + 4 * start);
}

/** A state made of the host's bytes of consecutive pieces. */
export function savedState(dtype: SavedState["dtype"], size: number, pieces: readonly Tensor[]): SavedState {
  const lengths = pieces.map((piece) => 4 * piece.size);
  return {
    dtype,
    size,
    read: async () => {
      const out = new Uint8Array(lengths.reduce((a, b) => a + b, 0));
      let at = 0;
      for (const [i, piece] of pieces.entries()) {
        const { buffer, byteOffset, byteLength } = await piece.read();
        out.set(new Uint8Array(buffer, byteOffset, byteLength), at);
        at += lengths[i]!;
      }
      return out.subarray(0, size * (dtype === "F32" ? 4 : 1));
    },
    write: (bytes) => {
      const padded = new Uint8Array(lengths.reduce((a, b) => a + b, 0)); // codes fill whole words
      padded.set(bytes);
      let at = 0;
      for (const [i, piece] of pieces.entries()) {
        const part = padded.buffer.slice(at, (at += lengths[i]!));
        piece.write(piece.dtype === "f32" ? new Float32Array(part) : new Uint32Array(part));
      }
    },
  };
}
