// A file as a stream of bytes, read by ranges and unpacked on the way: memory holds one chunk, whatever the file's size.

import { type FileSource, isTunesmithError } from "@tunesmith/core";
import { DataError } from "../errors.ts";

const CHUNK_BYTES = 2 ** 20;
/** Deflate packs at most 1,032 to 1: one packed chunk of this size unpacks to 16 MiB at most. */
const PACKED_CHUNK_BYTES = 2 ** 14;
/** JSON of repeated rows packs 50 to 1 or so; a bomb packs 1,000 to 1. */
const MAX_RATIO = 200;
/** Small files may pack better: a file of one row a thousand times is no attack. */
const RATIO_FREE_BYTES = 2 ** 26;

export async function* readBytes(
  source: FileSource,
  chunkBytes: number = CHUNK_BYTES,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let offset = 0; offset < source.size; offset += chunkBytes)
    yield await source.read(offset, Math.min(chunkBytes, source.size - offset));
}

/**
 * The unpacked bytes of a gzip file (RFC 1952) of one member.
 *
 * Files of several members are refused: browsers refuse them, and Node would silently leave out what follows the last
 * one. The size at the end of the file tells them from sound ones.
 *
 * @throws DataError `GZIP_INVALID` for anything that is not one whole member, `GZIP_BOMB` where it unpacks to more than
 *   200 times its size (the first 64 MiB are free)
 */
export async function* readGzip(
  source: FileSource,
  chunkBytes: number = PACKED_CHUNK_BYTES,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { path, size } = source;
  const invalid = (because: string, fix: string, cause?: unknown): DataError =>
    new DataError("GZIP_INVALID", `${path}: ${because}`, { path, expected: "one whole gzip member", fix, cause });
  if (size < 18) throw invalid(`${size} bytes are too few for a gzip file`, "copy the file again");
  const trailer = await source.read(size - 4, 4);
  const unpackedSize = new DataView(trailer.buffer, trailer.byteOffset, 4).getUint32(0, true);

  const stream = new DecompressionStream("gzip");
  const writer = stream.writable.getWriter();
  const reader = stream.readable.getReader();
  let packed = 0;
  let unpacked = 0;
  let readError: unknown;
  const feed = async (): Promise<void> => {
    try {
      for await (const chunk of readBytes(source, chunkBytes)) {
        await writer.ready;
        packed += chunk.length;
        await writer.write(chunk as Uint8Array<ArrayBuffer>);
      }
    } catch (error) {
      if (isTunesmithError(error)) readError = error; // of the file; those of the stream come out at the other end
      await writer.abort(error);
      return;
    }
    await writer.close();
  };
  const feeding = feed().catch(() => {});
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const chunk = value as Uint8Array;
      unpacked += chunk.length;
      if (unpacked > RATIO_FREE_BYTES + MAX_RATIO * packed) {
        throw new DataError("GZIP_BOMB", `${path}: ${packed} packed bytes have unpacked to ${unpacked}`, {
          path,
          expected: `at most ${MAX_RATIO} times the packed size`,
          received: `${Math.floor(unpacked / packed)} times`,
          fix: "unpack the file if you trust it, and name the unpacked one",
        });
      }
      yield chunk;
    }
  } catch (cause) {
    if (readError !== undefined) throw readError;
    if (isTunesmithError(cause)) throw cause;
    throw invalid(`the gzip stream is damaged or cut off after ${unpacked} unpacked bytes`, "copy it again", cause);
  } finally {
    await reader.cancel().catch(() => {});
    await writer.abort().catch(() => {});
    await feeding;
  }
  if (unpacked % 2 ** 32 !== unpackedSize) {
    throw invalid(
      `${unpacked} bytes were unpacked and the end of the file says ${unpackedSize}: it holds several members, or bytes after its end`,
      `pack it again in one piece: gzip -dc ${path} | gzip > NEW.gz`,
    );
  }
}
