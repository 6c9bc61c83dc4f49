// Parquet, one row group at a time. The format is hyparquet's affair; here every byte sequence is checked to be text, every
// value to be one that JSON can hold, and whatever the library throws on a damaged file becomes a typed error.

import { type FileSource, InputError, isTunesmithError, type JsonObject, type JsonValue } from "@tunesmith/core";
import type { AsyncBuffer, Compressors, FileMetaData, parquetReadObjects, SchemaTree } from "hyparquet";
import { DataError } from "../errors.ts";
import { placeDetails, placeText, type RowAt } from "./place.ts";
import { rawRow, type RawRow } from "./raw-row.ts";

/** A row group is decoded as a whole. */
const MAX_GROUP_BYTES = 2 ** 30;

/** Stands for bytes that are no text until the row they belong to is known. */
const NOT_TEXT: unique symbol = Symbol("not UTF-8");

const decoder = (): TextDecoder => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array | undefined): unknown {
  if (bytes === undefined) return undefined;
  try {
    return decoder().decode(bytes);
  } catch {
    return NOT_TEXT;
  }
}

// the types promise strings; what is none is caught where the row is known
const PARSERS = { stringFromBytes: textOf, jsonFromBytes: textOf } as unknown as NonNullable<
  Parameters<typeof parquetReadObjects>[0]["parsers"]
>;

/**
 * The library and its codecs, loaded when the first Parquet file is read: importing the codecs compiles WebAssembly.
 * Their LZ4 (1.1.2) fails on an empty block, which Arrow writes for a page without values.
 */
async function loadLibrary() {
  const [library, { compressors }] = await Promise.all([import("hyparquet"), import("hyparquet-compressors")]);
  const codecs = Object.entries(compressors).map(([codec, decompress]) => [
    codec,
    (input: Uint8Array, length: number) => (length === 0 ? new Uint8Array() : decompress(input, length)),
  ]);
  return { ...library, compressors: Object.fromEntries(codecs) as Compressors };
}

/** The rows of a Parquet file. A null is an absent value: writers fill every row with the columns of all rows. */
export async function* readParquet(source: FileSource): AsyncGenerator<RawRow, void, undefined> {
  const { path } = source;
  const file: AsyncBuffer = {
    byteLength: source.size,
    slice: async (start, end = source.size) => {
      const from = start < 0 ? source.size + start : start;
      const bytes = await source.read(from, end - from);
      return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
    },
  };
  const sound = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (cause) {
      if (isTunesmithError(cause) && cause.code !== "FILE_UNREADABLE") throw cause;
      throw invalid(path, `${what}: ${(cause as Error).message}`, cause);
    }
  };
  if (source.size < 12) throw invalid(path, `${source.size} bytes are too few for a Parquet file`);
  const { parquetMetadataAsync, parquetReadObjects, parquetSchema, compressors } = await loadLibrary();
  const metadata = await sound("its footer is damaged or cut off", () => parquetMetadataAsync(file));
  const schema = await sound("its schema is damaged", async () => parquetSchema(metadata));
  checkGroups(path, metadata, source.size);
  checkColumns(path, metadata, schema);
  let row = 0;
  for (const [i, group] of metadata.row_groups.entries()) {
    const count = Number(group.num_rows);
    const rows = await sound(`row group ${i} cannot be decoded`, () =>
      parquetReadObjects({
        file,
        metadata,
        rowStart: row,
        rowEnd: row + count,
        compressors,
        parsers: PARSERS,
      }),
    );
    if (rows.length !== count) throw invalid(path, `row group ${i} holds ${rows.length} rows and says ${count}`);
    for (const columns of rows) {
      const at = { path, row: ++row };
      yield rawRow(at, () => ({ row: objectOf(columns, at, "") }));
    }
  }
}

function invalid(path: string, because: string, cause?: unknown): DataError {
  return new DataError("PARQUET_INVALID", `${path}: not a sound Parquet file: ${because}`, {
    path,
    expected: "a whole Parquet file",
    fix: "copy or write the file again",
    cause,
  });
}

/** Numbers in a footer decide what is allocated, so they are held against the file first. */
function checkGroups(path: string, { row_groups: groups, num_rows: total }: FileMetaData, size: number): void {
  let sum = 0;
  for (const [i, { num_rows: rows, columns }] of groups.entries()) {
    let bytes = 0;
    for (const { meta_data: data } of columns) {
      if (data === undefined) throw invalid(path, `row group ${i} has a column without metadata`);
      bytes += Number(data.total_uncompressed_size);
      const start = Number(data.dictionary_page_offset ?? data.data_page_offset);
      const packed = Number(data.total_compressed_size);
      if (!(packed >= 0 && start >= 0 && start + packed <= size))
        throw invalid(path, `row group ${i} points beyond the file`);
      // flat columns hold a value per row; nested ones at least one level per row
      if (!(Number(data.num_values) >= Number(rows))) throw invalid(path, `row group ${i} has fewer values than rows`);
    }
    if (!(Number(rows) >= 0)) throw invalid(path, `row group ${i} says it has ${rows} rows`);
    sum += Number(rows);
    if (bytes <= MAX_GROUP_BYTES) continue;
    throw new DataError("LINE_TOO_LONG", `${path}: row group ${i} holds ${bytes} bytes, too many to decode at once`, {
      path,
      expected: `row groups of at most ${MAX_GROUP_BYTES} bytes`,
      received: String(bytes),
      fix: "write the file with a smaller row_group_size",
    });
  }
  if (sum !== Number(total)) throw invalid(path, `it says ${total} rows and its row groups hold ${sum}`);
}

/**
 * Every row group has the columns of the schema, in its order. Hyparquet starts to decode a column that is in no schema
 * and waits for it nowhere: should it fail, the process would end.
 */
function checkColumns(path: string, { row_groups: groups }: FileMetaData, schema: SchemaTree): void {
  const shown = (names: readonly string[]): string => JSON.stringify(names);
  const leaves = leavesOf(schema).map(shown);
  if (new Set(leaves).size !== leaves.length) throw invalid(path, "two columns have one name");
  for (const [i, { columns }] of groups.entries()) {
    const own = columns.map(({ meta_data: data }) => shown(data!.path_in_schema));
    if (own.join() !== leaves.join()) throw invalid(path, `row group ${i} does not have the columns of the schema`);
  }
}

function leavesOf({ children, path }: SchemaTree): (readonly string[])[] {
  return children.length === 0 ? (path.length === 0 ? [] : [path]) : children.flatMap(leavesOf);
}

function objectOf(columns: Readonly<Record<string, unknown>>, at: RowAt, within: string): JsonObject {
  const out: JsonObject = new Map();
  for (const [name, value] of Object.entries(columns)) {
    if (value === null || value === undefined) continue;
    out.set(name, jsonOf(value, at, within === "" ? name : `${within}.${name}`));
  }
  return out;
}

function jsonOf(value: unknown, at: RowAt, column: string): JsonValue {
  const refuse = (because: string, received: string): never => {
    throw new DataError("VALUE_INVALID", `${placeText(at)}: column ${column} ${because}`, {
      ...placeDetails(at),
      expected: "text, numbers, booleans, lists and structs of them",
      received,
      fix: "convert the column before writing the file",
    });
  };
  if (value === NOT_TEXT)
    throw new InputError("UTF8_INVALID", `${placeText(at)}: column ${column} is not valid UTF-8`, {
      ...placeDetails(at),
      expected: "UTF-8 text",
      fix: "repair the text, or leave the column out",
    });
  if (value === null || value === undefined) return null;
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : refuse("holds an integer beyond 2^53 - 1", String(value));
  }
  if (typeof value === "number")
    return Number.isFinite(value) ? value : refuse("holds a number that JSON cannot hold", String(value));
  if (typeof value === "string" || typeof value === "boolean") return value;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map((entry) => jsonOf(entry, at, `${column}[]`));
  if (ArrayBuffer.isView(value)) return refuse("holds raw bytes", "bytes");
  return objectOf(value as Record<string, unknown>, at, column);
}
