// Pieces of a byte stream whose ends a format knows: lines, CSV records, JSON values. One limit on their size holds for
// all, and a piece beyond it is passed over without being kept.

/** A piece and where it began. */
export interface Piece {
  /** undefined where the piece is longer than the limit */
  readonly bytes: Uint8Array | undefined;
  /** 1-based */
  readonly line: number;
  /** offset of the first byte */
  readonly byte: number;
  /** false where the stream ended before the piece did */
  readonly ended: boolean;
}

/** Index behind the piece's last byte, or −1 if it goes on in the next chunk. Called with consecutive chunks. */
export type FindEnd = (chunk: Uint8Array, from: number) => number;

const NEWLINE = 0x0a;

/** @param limit - longest piece that is kept, in bytes */
export function byteCursor(
  chunks: AsyncIterable<Uint8Array>,
  limit: number,
): {
  /** the next piece; undefined at the end of the stream */
  take(findEnd: FindEnd): Promise<Piece | undefined>;
  /** passes white space of JSON; the byte after it, undefined at the end of the stream */
  peek(): Promise<number | undefined>;
  /** the place of the next byte */
  place(): { line: number; byte: number };
  /** stops reading; needed where the stream is left before its end */
  close(): Promise<void>;
} {
  const source = chunks[Symbol.asyncIterator]();
  let chunk: Uint8Array = new Uint8Array();
  let at = 0;
  let chunkByte = 0;
  let line = 1;

  async function fill(): Promise<boolean> {
    while (at === chunk.length) {
      const next = await source.next();
      if (next.done === true) return false;
      chunkByte += chunk.length;
      chunk = next.value;
      at = 0;
    }
    return true;
  }
  function countLines(from: number, to: number): void {
    for (let i = chunk.indexOf(NEWLINE, from); i !== -1 && i < to; i = chunk.indexOf(NEWLINE, i + 1)) line++;
  }

  return {
    async take(findEnd) {
      if (!(await fill())) return undefined;
      const start = { line, byte: chunkByte + at };
      const kept: Uint8Array[] = [];
      let length = 0;
      for (;;) {
        const found = findEnd(chunk, at);
        const end = found === -1 ? chunk.length : found;
        length += end - at;
        countLines(at, end);
        if (length > limit) kept.length = 0;
        // copied where the piece goes on: a view would keep its whole chunk alive
        else kept.push(found === -1 ? chunk.slice(at, end) : chunk.subarray(at, end));
        at = end;
        const ended = found !== -1;
        if (ended || !(await fill()))
          return { bytes: length > limit ? undefined : join(kept, length), ...start, ended };
      }
    },
    async peek() {
      while (await fill()) {
        for (; at < chunk.length; at++) {
          const byte = chunk[at]!;
          if (byte === NEWLINE) line++;
          else if (byte !== 0x20 && byte !== 0x0d && byte !== 0x09) return byte;
        }
      }
      return undefined;
    },
    place: () => ({ line, byte: chunkByte + at }),
    close: async () => void (await source.return?.()),
  };
}

function join(pieces: readonly Uint8Array[], length: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const out = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
