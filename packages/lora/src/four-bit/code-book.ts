import { FOUR_BIT_VALUES } from "@tunesmith/tensor";
import type { FourBitFormat } from "@tunesmith/tensor";

/** Values to round to, ascending, and the borders between them. */
export interface CodeBook {
  readonly values: Float32Array;
  /** code of each value */
  readonly codes: Uint8Array;
  /** midpoints in f32: a number equal to one belongs to the lower value */
  readonly borders: Float32Array;
}

/** @param table - the value of each code; of equal values the first code is written */
export function codeBook(table: ArrayLike<number>): CodeBook {
  const codes = Array.from({ length: table.length }, (_, code) => code).sort((a, b) => table[a]! - table[b]! || a - b);
  const values = Float32Array.from(codes, (code) => table[code]!);
  const borders = Float32Array.from({ length: values.length - 1 }, (_, i) =>
    Math.fround(Math.fround(values[i]! + values[i + 1]!) / 2),
  );
  return { values, codes: Uint8Array.from(codes), borders };
}

export const FOUR_BIT_BOOKS: Readonly<Record<FourBitFormat, CodeBook>> = {
  nf4: codeBook(FOUR_BIT_VALUES.nf4),
  fp4: codeBook(FOUR_BIT_VALUES.fp4),
};

const CELLS = 2 ** 13;

/**
 * A function of numbers in [−1, 1] that gives the code of the nearest value. It starts from a look-up by narrow cells, of
 * which few hold more than one border.
 */
export function nearestCode({ codes, borders }: CodeBook): (x: number) => number {
  // rank of the lowest value that a number of the cell may have
  const first = new Uint8Array(CELLS + 1);
  for (let cell = 0; cell <= CELLS; cell++) {
    const low = (cell / CELLS) * 2 - 1;
    first[cell] = borders.findLastIndex((border) => border < low) + 1;
  }
  const last = borders.length;
  return (x) => {
    let rank = first[((x + 1) * (CELLS / 2)) | 0]!;
    while (rank < last && x > borders[rank]!) rank++;
    return codes[rank]!;
  };
}
