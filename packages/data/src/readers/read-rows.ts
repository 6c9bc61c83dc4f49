// The table of file formats, and the one way to read any of them.

import { type Files, type FileSource, type JsonObject, nearest } from "@tunesmith/core";
import { DataError } from "../errors.ts";
import { readBytes, readGzip } from "./bytes.ts";
import { readCsv } from "./csv.ts";
import { readJsonDocument } from "./json.ts";
import { type ByteInput, readJsonLines } from "./jsonl.ts";
import { readParquet } from "./parquet.ts";
import type { RowAt } from "./place.ts";
import { parseRow, type RawRow } from "./raw-row.ts";
import { readText, type SampleBy } from "./text.ts";

export const FILE_FORMATS = ["jsonl", "json", "csv", "tsv", "parquet", "text"] as const;
export type FileFormat = (typeof FILE_FORMATS)[number];

/** Names that give a file format away, after a `.gz` is taken off. */
const EXTENSIONS: Readonly<Record<string, FileFormat>> = {
  jsonl: "jsonl",
  ndjson: "jsonl",
  json: "json",
  csv: "csv",
  tsv: "tsv",
  parquet: "parquet",
  txt: "text",
};

/** How a file's rows are found. All of it has a default. */
export interface ReadOptions {
  /** default `auto`: told by the name */
  readonly fileFormat?: FileFormat | "auto" | undefined;
  /** JSON: the key whose array holds the rows, where the document is an object */
  readonly rowsKey?: string | undefined;
  /** text: what becomes a row; default `document` */
  readonly sampleBy?: SampleBy | undefined;
  /** longest row in bytes, default 64 MiB; not for Parquet */
  readonly maxRowBytes?: number | undefined;
  /** bytes per read, for tests */
  readonly chunkBytes?: number | undefined;
}

/** A row's columns and where it stands. */
export interface ReadRow {
  readonly row: JsonObject;
  readonly at: RowAt;
}

const MAX_ROW_BYTES = 2 ** 26;

/** The format a file's name tells, undefined for a name that tells nothing. */
export function fileFormatOf(path: string): FileFormat | undefined {
  const extension = /\.([^./\\]+)$/.exec(path.replace(/\.gz$/i, ""))?.[1]?.toLowerCase();
  return extension !== undefined && Object.hasOwn(EXTENSIONS, extension) ? EXTENSIONS[extension] : undefined;
}

/** @throws DataError `FILE_FORMAT_UNKNOWN` where neither the option nor the name tells it */
export function decideFileFormat(path: string, written: FileFormat | "auto" | undefined): FileFormat {
  const format = written === undefined || written === "auto" ? fileFormatOf(path) : written;
  if (format !== undefined) return format;
  const extension = /\.([^./\\]+)$/.exec(path)?.[1];
  const near = extension === undefined ? undefined : nearest(extension, Object.keys(EXTENSIONS));
  throw new DataError("FILE_FORMAT_UNKNOWN", `${path}: its name does not tell what kind of file it is`, {
    path,
    expected: Object.keys(EXTENSIONS)
      .map((name) => `.${name}`)
      .join(", "),
    received: extension === undefined ? "no extension" : `.${extension}`,
    fix: `set file_format to one of ${FILE_FORMATS.join(", ")}${near === undefined ? "" : ` (did you mean .${near}?)`}`,
  });
}

/**
 * Every row of a file, bad ones as values.
 *
 * @param options.onBlank - told of every line or record that holds nothing: rows, bad ones and blanks are all there is
 * @throws InputError or DataError where the file itself is broken, so that nobody can say which rows are missing:
 *   `FILE_MISSING`, `FILE_FORMAT_UNKNOWN`, `GZIP_INVALID`, `GZIP_BOMB`, `JSON_INVALID` (of a document), `CSV_INVALID` (of a
 *   header or an open quote), `PARQUET_INVALID`
 */
export async function* readRawRows(
  files: Files,
  path: string,
  options: ReadOptions & { readonly onBlank?: () => void } = {},
): AsyncGenerator<RawRow, void, undefined> {
  const format = decideFileFormat(path, options.fileFormat);
  const source = await files.open(path);
  try {
    yield* readers[format](source, options);
  } finally {
    await source.close();
  }
}

type Read = (source: FileSource, options: Parameters<typeof readRawRows>[2] & {}) => AsyncIterable<RawRow>;

const readers: { readonly [F in FileFormat]: Read } = {
  jsonl: (source, options) => readJsonLines(inputOf(source, options)),
  json: (source, options) => readJsonDocument(inputOf(source, options), options.rowsKey),
  csv: (source, options) => readCsv(inputOf(source, options), ","),
  tsv: (source, options) => readCsv(inputOf(source, options), "\t"),
  parquet: (source) => readParquet(source),
  text: (source, options) => readText(inputOf(source, options), options.sampleBy ?? "document"),
};

function inputOf(source: FileSource, { chunkBytes, maxRowBytes, onBlank }: Parameters<Read>[1]): ByteInput {
  const packed = /\.gz$/i.test(source.path);
  return {
    path: source.path,
    bytes: packed ? readGzip(source, chunkBytes) : readBytes(source, chunkBytes),
    maxRowBytes: maxRowBytes ?? MAX_ROW_BYTES,
    onBlank: onBlank ?? (() => {}),
  };
}

/**
 * Every row of a file.
 * @throws what {@link readRawRows} throws, and the error of the first row that is bad
 */
export async function* readRows(
  files: Files,
  path: string,
  options: ReadOptions = {},
): AsyncGenerator<ReadRow, void, undefined> {
  for await (const raw of readRawRows(files, path, options)) yield { row: parseRow(raw), at: raw.at };
}
