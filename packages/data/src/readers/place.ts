/** Where a row stands. Text has lines and bytes; rows of CSV, JSON arrays and Parquet are counted too. */
export interface RowAt {
  readonly path: string;
  /** 1-based line the row begins on; Parquet has none */
  readonly line?: number;
  /** 1-based row, where rows are not lines */
  readonly row?: number;
  /** offset of the row's first byte in the (decompressed) file */
  readonly byte?: number;
}

/** `path:line`, with the row where that is another number: the start of every complaint about a row. */
export function placeText({ path, line, row }: RowAt): string {
  const rowText = row === undefined ? "" : ` (row ${row})`;
  return line === undefined ? `${path}${rowText}` : `${path}:${line}${rowText}`;
}

/** The fields of an error about a row. */
export function placeDetails({ path, line, row, byte }: RowAt): {
  path: string;
  line?: number;
  row?: number;
  byte?: number;
} {
  return {
    path,
    ...(line === undefined ? {} : { line }),
    ...(row === undefined ? {} : { row }),
    ...(byte === undefined ? {} : { byte }),
  };
}
