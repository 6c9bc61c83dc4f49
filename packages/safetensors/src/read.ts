import { nearest } from "@tunesmith/core";
import type { Files, FileSource } from "@tunesmith/core";
import { quote, SafetensorsError } from "./errors.ts";
import { parseHeader } from "./header.ts";
import type { TensorInfo } from "./header.ts";
import { checkLayout } from "./layout.ts";

/** The format's limit, which the reference implementation keeps too. */
export const MAX_HEADER_BYTES: number = 100_000_000;

/** Named tensors whose bytes are read when asked for: one file, or all shards of a model. */
export interface TensorSource<Info extends TensorInfo = TensorInfo> {
  readonly tensors: ReadonlyMap<string, Info>;
  /**
   * All bytes of a tensor, little-endian, row-major.
   * @throws {@link SafetensorsError} `TENSOR_UNKNOWN`
   * @throws InputError `FILE_UNREADABLE` if the file changed or cannot be read
   */
  read(name: string): Promise<Uint8Array>;
  /**
   * Some bytes of a tensor: rows of a large matrix, one after another.
   * @param byteOffset - from the tensor's first byte
   * @throws {@link SafetensorsError} `TENSOR_UNKNOWN`, `RANGE_OUTSIDE_TENSOR`
   */
  readRange(name: string, byteOffset: number, byteLength: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** One open safetensors file. */
export interface SafetensorsFile extends TensorSource {
  readonly path: string;
  /** the header's `__metadata__`, empty where there is none */
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Opens a safetensors file and reads its header; tensor data stays on disk. Everything the format promises
 * is checked here, before any tensor is read: see {@link SafetensorsErrorCode} for each way to fail.
 * Reads 8 bytes and the header, and keeps neither.
 *
 * @throws {@link SafetensorsError} if the file is not a valid safetensors file
 * @throws InputError `FILE_MISSING`, `FILE_UNREADABLE`
 * @example
 * ```ts
 * const file = await openSafetensors(files, "adapter_model.safetensors");
 * for (const [name, { dtype, shape }] of file.tensors) console.log(name, dtype, shape);
 * await file.close();
 * ```
 */
export async function openSafetensors(files: Files, path: string): Promise<SafetensorsFile> {
  return readSource(await files.open(path));
}

/** Like {@link openSafetensors} on an open file, which is closed if it is not valid. */
export async function readSource(source: FileSource): Promise<SafetensorsFile> {
  const { path, size } = source;
  try {
    const dataStart = 8 + (await headerLength(source));
    const header = parseHeader(await source.read(8, dataStart - 8), dataStart, path);
    checkLayout(header, dataStart, size, path);
    const { tensors, metadata } = header;
    return {
      path,
      tensors,
      metadata,
      read: async (name) => {
        const { start, end } = find(tensors, name, path);
        return source.read(start, end - start);
      },
      readRange: async (name, byteOffset, byteLength) => {
        const info = find(tensors, name, path);
        checkRange(info, name, byteOffset, byteLength, path);
        return source.read(info.start + byteOffset, byteLength);
      },
      close: () => source.close(),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Checked against the limit and the file before anything of that size is allocated. */
async function headerLength(source: FileSource): Promise<number> {
  const { path, size } = source;
  if (size < 8) {
    const message = `${path}: ${size} bytes, too small for a safetensors file`;
    const fix = "check that the download is complete (a Git LFS pointer is not the file)";
    throw new SafetensorsError("FILE_TOO_SMALL", message, {
      path,
      expected: "at least 8 bytes",
      received: `${size} bytes`,
      fix,
    });
  }
  const first = await source.read(0, 8);
  const length = new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true);
  const details = { path, offset: 0, received: `${length} bytes`, fix: "check that this is a safetensors file" };
  if (length > MAX_HEADER_BYTES) {
    const message = `${path}: the header claims ${length} bytes, more than the format's ${MAX_HEADER_BYTES}`;
    throw new SafetensorsError("HEADER_TOO_LARGE", message, {
      ...details,
      expected: `at most ${MAX_HEADER_BYTES} bytes`,
    });
  }
  if (Number(length) > size - 8) {
    const message = `${path}: the header claims ${length} bytes, but the file ends ${size - 8} bytes after its length`;
    throw new SafetensorsError("HEADER_BEYOND_FILE", message, { ...details, expected: `at most ${size - 8} bytes` });
  }
  return Number(length);
}

/** The entry of a name. */
export function find<Info extends TensorInfo>(tensors: ReadonlyMap<string, Info>, name: string, path: string): Info {
  const info = tensors.get(name);
  if (info) return info;
  const near = tensors.size > 10_000 ? undefined : nearest(name, tensors.keys());
  const fix = near === undefined ? "list the names in `tensors`" : `did you mean ${quote(near)}?`;
  throw new SafetensorsError("TENSOR_UNKNOWN", `${path}: no tensor ${quote(name)} among ${tensors.size}`, {
    path,
    tensor: name,
    fix,
  });
}

/** Fails unless the range lies in the tensor. */
function checkRange(info: TensorInfo, name: string, byteOffset: number, byteLength: number, path: string): void {
  const size = info.end - info.start;
  const whole = Number.isSafeInteger(byteOffset) && Number.isSafeInteger(byteLength);
  if (whole && byteOffset >= 0 && byteLength >= 0 && byteOffset + byteLength <= size) return;
  const message = `${path}: tensor ${quote(name)} has ${size} bytes, asked for ${byteLength} from ${byteOffset}`;
  throw new SafetensorsError("RANGE_OUTSIDE_TENSOR", message, {
    path,
    tensor: name,
    fix: "ask for bytes inside the tensor",
  });
}
