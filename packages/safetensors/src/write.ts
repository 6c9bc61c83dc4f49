import type { Files } from "@tunesmith/core";
import { byteLength, dtypeRank } from "./dtypes.ts";
import type { Dtype } from "./dtypes.ts";
import { quote, SafetensorsError } from "./errors.ts";
import { MAX_HEADER_BYTES } from "./read.ts";

/** One tensor to write. */
export interface TensorToWrite {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /**
   * Little-endian, row-major bytes; or a function that yields them in pieces. It is called once, when the
   * tensor's turn comes, so that a file larger than memory can be written.
   */
  readonly data: Uint8Array | (() => Iterable<Uint8Array> | AsyncIterable<Uint8Array>);
}

/**
 * Writes a safetensors file through `files.writeAtomic`: on any error the old file, if there was one, stays.
 *
 * The bytes are a function of the content alone, and those that the reference implementation writes: tensors
 * by falling alignment of their dtype, then by code points of their name; metadata keys likewise sorted (the
 * reference leaves theirs to chance); the header padded with spaces to a multiple of 8 bytes.
 *
 * @param tensors - by name; the order of the map does not matter
 * @param metadata - `__metadata__`; left out where empty. PEFT and transformers write `{format: "pt"}`
 * @throws {@link SafetensorsError} `NAME_INVALID`, `NUMBER_INVALID` (a size in a shape), `SHAPE_OVERFLOW`,
 *   `SUB_BYTE_MISALIGNED`, `DATA_LENGTH`, `HEADER_TOO_LARGE`
 */
export async function writeSafetensors(
  files: Files,
  path: string,
  tensors: ReadonlyMap<string, TensorToWrite>,
  metadata: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  const sorted = [...tensors]
    .map(([name, tensor]) => ({ name, tensor, bytes: checkTensor(name, tensor, path) }))
    .sort((a, b) => dtypeRank(b.tensor.dtype) - dtypeRank(a.tensor.dtype) || compareCodePoints(a.name, b.name));
  const header = encodeHeader(sorted, metadata, path);

  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield header;
    for (const { name, tensor, bytes } of sorted) {
      if (tensor.data instanceof Uint8Array) {
        yield tensor.data;
        continue;
      }
      let written = 0;
      for await (const piece of tensor.data()) {
        written += piece.length;
        if (written > bytes) wrongLength(path, name, `more than ${bytes}`, bytes);
        yield piece;
      }
      if (written !== bytes) wrongLength(path, name, `${written}`, bytes);
    }
  }
  await files.writeAtomic(path, chunks());
}

interface SizedTensor {
  readonly name: string;
  readonly tensor: TensorToWrite;
  /** size of the data */
  readonly bytes: number;
}

/** 8 bytes of length, JSON, spaces. */
function encodeHeader(sorted: readonly SizedTensor[], metadata: ReadonlyMap<string, string>, path: string): Uint8Array {
  const entries: string[] = [];
  if (metadata.size > 0) {
    const pairs = [...metadata].sort(([a], [b]) => compareCodePoints(a, b));
    for (const pair of pairs) for (const text of pair) checkText(text, "a metadata text", path);
    entries.push(
      `"__metadata__":{${pairs.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")}}`,
    );
  }
  let at = 0;
  for (const { name, tensor, bytes } of sorted) {
    const offsets = `[${at},${at + bytes}]`;
    entries.push(
      `${JSON.stringify(name)}:{"dtype":"${tensor.dtype}","shape":[${tensor.shape.join(",")}],"data_offsets":${offsets}}`,
    );
    at += bytes;
  }
  if (!Number.isSafeInteger(at)) {
    throw new SafetensorsError("SHAPE_OVERFLOW", `writing ${path}: all tensors together exceed 2^53 - 1 bytes`, {
      path,
    });
  }
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    const message = `writing ${path}: the header would have ${length} bytes, the format allows ${MAX_HEADER_BYTES}`;
    throw new SafetensorsError("HEADER_TOO_LARGE", message, { path, fix: "write several files" });
  }
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return header;
}

/** The size of its data, if the tensor can be written. */
function checkTensor(name: string, { dtype, shape, data }: TensorToWrite, path: string): number {
  const about = { path, tensor: name };
  const shown = `writing ${path}: tensor ${quote(name)}`;
  checkText(name, "a tensor name", path);
  if (name === "__metadata__") {
    throw new SafetensorsError("NAME_INVALID", `${shown}: the name is reserved for metadata`, {
      ...about,
      fix: "rename the tensor",
    });
  }
  const what = `${dtype} [${shape.join(", ")}]`;
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    const fix = "give sizes as integers from 0 to 2^53 - 1";
    throw new SafetensorsError("NUMBER_INVALID", `${shown}: ${what} has a size that is not an integer ≥ 0`, {
      ...about,
      fix,
    });
  }
  const bytes = byteLength(dtype, shape);
  if (typeof bytes === "string") {
    const because = bytes === "SHAPE_OVERFLOW" ? "has more than 2^53 - 1 bits" : "does not fill whole bytes";
    throw new SafetensorsError(bytes, `${shown}: ${what} ${because}`, {
      ...about,
      fix: "write another shape or dtype",
    });
  }
  if (data instanceof Uint8Array && data.length !== bytes) wrongLength(path, name, `${data.length}`, bytes);
  return bytes;
}

function wrongLength(path: string, tensor: string, received: string, expected: number): never {
  const message = `writing ${path}: tensor ${quote(tensor)} got ${received} bytes, its dtype and shape need ${expected}`;
  const fix = "pass the bytes of exactly this shape";
  throw new SafetensorsError("DATA_LENGTH", message, {
    path,
    tensor,
    received: `${received} bytes`,
    expected: `${expected} bytes`,
    fix,
  });
}

/** UTF-8 has no lone surrogates: writing one would change the text. */
function checkText(text: string, what: string, path: string): void {
  if (!/\p{Surrogate}/u.test(text)) return;
  const message = `writing ${path}: ${what} holds a lone surrogate: ${quote(text)}`;
  throw new SafetensorsError("NAME_INVALID", message, { path, tensor: text, fix: "pass well-formed text" });
}

/** The order of UTF-8 bytes; `<` on texts orders UTF-16 units, which puts U+1F600 before U+FB01. */
function compareCodePoints(a: string, b: string): number {
  let i = 0;
  while (i < a.length && a[i] === b[i]) i++;
  if (i === a.length || i === b.length) return a.length - b.length;
  // texts are well-formed: a difference in the second half of a pair follows the same first half
  return a.codePointAt(i)! - b.codePointAt(i)!;
}
