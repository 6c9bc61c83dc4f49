import { byteLength, isDtype } from "./dtypes.ts";
import type { Dtype } from "./dtypes.ts";
import { quote, SafetensorsError } from "./errors.ts";
import type { SafetensorsErrorCode } from "./errors.ts";
import { createScanner } from "./scanner.ts";
import type { Scanner } from "./scanner.ts";

/** What a header says about one tensor. */
export interface TensorInfo {
  readonly dtype: Dtype;
  /** row-major; `[]` is a scalar, and a 0 in it means no data */
  readonly shape: readonly number[];
  /** position of the first data byte in the file (not in the data section) */
  readonly start: number;
  /** position after the last data byte in the file */
  readonly end: number;
}

export interface Header {
  /** in the order of the header */
  readonly tensors: Map<string, TensorInfo>;
  readonly metadata: Map<string, string>;
}

const METADATA = "__metadata__";

// What one byte of header can make us keep is bounded: a header of nothing but tiny keys would
// otherwise grow to many times its size. The largest public models have some 200,000 tensors.
export const MAX_TENSORS: number = 2 ** 20;
const MAX_METADATA_KEYS = 2 ** 16;
const MAX_EXTRA_FIELDS = 64;
/** NumPy's limit; torch has the same. */
const MAX_RANK = 64;

/**
 * Reads the JSON of a header and checks every entry by itself: types, dtype, and that the data range is
 * as long as shape × dtype. How ranges lie beside each other is `checkLayout`'s business.
 *
 * @param bytes - the header without its 8 bytes of length
 * @param dataStart - position of the data section in the file, added to every offset
 * @param path - file, for errors
 */
export function parseHeader(bytes: Uint8Array, dataStart: number, path: string): Header {
  const scanner = createScanner(bytes, { path, base: dataStart - bytes.length, kind: "header" });
  const parseEntry = entryParser(scanner, dataStart, path);
  const tensors = new Map<string, TensorInfo>();
  let metadata: Map<string, string> | undefined;
  scanner.object((name) => {
    if (name === METADATA) {
      if (metadata) scanner.fail("DUPLICATE_KEY", `${METADATA} appears twice`);
      metadata = parseMetadata(scanner);
    } else {
      if (tensors.has(name)) scanner.fail("DUPLICATE_KEY", `the tensor ${quote(name)} appears twice`);
      if (tensors.size === MAX_TENSORS) scanner.fail("LIMIT_EXCEEDED", `more than ${MAX_TENSORS} tensors`);
      tensors.set(name, parseEntry(name));
    }
  });
  scanner.end();
  return { tensors, metadata: metadata ?? new Map() };
}

function parseMetadata(scanner: Scanner): Map<string, string> {
  const metadata = new Map<string, string>();
  // some writers give null for none, and the reference reads it (an `Option` there)
  if (scanner.starts("null")) {
    scanner.skip();
    return metadata;
  }
  if (!scanner.starts("object")) scanner.fail("METADATA_INVALID", `${METADATA} must be an object of texts`);
  scanner.object((key) => {
    if (metadata.has(key)) scanner.fail("DUPLICATE_KEY", `the metadata key ${quote(key)} appears twice`);
    if (metadata.size === MAX_METADATA_KEYS)
      scanner.fail("LIMIT_EXCEEDED", `more than ${MAX_METADATA_KEYS} metadata keys`);
    if (!scanner.starts("string"))
      scanner.fail("METADATA_INVALID", `the metadata value of ${quote(key)} must be a text`);
    metadata.set(key, scanner.string());
  });
  return metadata;
}

/** Parses one entry after another. Scratch values and closures are made once: a header may hold a million. */
function entryParser(scanner: Scanner, dataStart: number, path: string): (name: string) => TensorInfo {
  const shapeOf = shapeStore();
  let tensor = "";
  let dtype: string | undefined;
  let shape: readonly number[] | undefined;
  let begin = -1;
  let end = -1;
  let extra: Set<string> | undefined;
  const numbers: number[] = [];

  const wrong = (what: string): never => scanner.fail("ENTRY_INVALID", `tensor ${quote(tensor)}: ${what}`);
  const number = (): void => {
    if (numbers.length === MAX_RANK)
      scanner.fail("LIMIT_EXCEEDED", `tensor ${quote(tensor)}: more than ${MAX_RANK} numbers`);
    numbers.push(scanner.integer());
  };
  const readNumbers = (field: string): void => {
    numbers.length = 0;
    if (!scanner.starts("array")) wrong(`${field} must be an array of integers`);
    scanner.array(number);
  };
  const once = (field: string, seen: boolean): void => {
    if (seen) scanner.fail("DUPLICATE_KEY", `tensor ${quote(tensor)}: the field ${quote(field)} appears twice`);
  };
  const member = (field: string): void => {
    if (field === "dtype") {
      once(field, dtype !== undefined);
      if (!scanner.starts("string")) wrong("dtype must be a text");
      dtype = scanner.string();
    } else if (field === "shape") {
      once(field, shape !== undefined);
      readNumbers(field);
      shape = shapeOf(numbers);
    } else if (field === "data_offsets") {
      once(field, begin !== -1);
      readNumbers(field);
      if (numbers.length !== 2) wrong("data_offsets must be two numbers");
      [begin, end] = numbers as [number, number];
    } else {
      extra ??= new Set();
      once(field, extra.has(field));
      if (extra.size === MAX_EXTRA_FIELDS) scanner.fail("LIMIT_EXCEEDED", `tensor ${quote(tensor)}: too many fields`);
      extra.add(field);
      scanner.skip(); // as the reference does: a later version of the format may add fields
    }
  };

  return (name) => {
    tensor = name;
    dtype = shape = extra = undefined;
    begin = end = -1;
    if (!scanner.starts("object")) wrong("its entry must be an object");
    scanner.object(member);
    if (dtype === undefined) return wrong("dtype is missing");
    if (shape === undefined) return wrong("shape is missing");
    if (begin === -1) return wrong("data_offsets are missing");
    return checkEntry({ name, dtype, shape, begin, end }, dataStart, path);
  };
}

/** Hands out one array per distinct shape: a model repeats a few shapes in thousands of tensors. */
function shapeStore(): (numbers: readonly number[]) => readonly number[] {
  const most = 1024;
  const shapes = new Map<string, readonly number[]>();
  return (numbers) => {
    const key = numbers.join();
    const known = shapes.get(key);
    if (known) return known;
    const shape = numbers.slice();
    if (shapes.size < most) shapes.set(key, shape);
    return shape;
  };
}

interface Entry {
  name: string;
  dtype: string;
  shape: readonly number[];
  begin: number;
  end: number;
}

function checkEntry({ name, dtype, shape, begin, end }: Entry, dataStart: number, path: string): TensorInfo {
  const fail = (
    code: SafetensorsErrorCode,
    because: string,
    details: { expected?: string; received?: string } = {},
  ): never => {
    throw new SafetensorsError(code, `${path}: tensor ${quote(name)}: ${because}`, {
      path,
      tensor: name,
      offset: dataStart + begin,
      fix: "the file is damaged or was written by a faulty program; download or export it again",
      ...details,
    });
  };
  if (!isDtype(dtype)) return fail("DTYPE_UNKNOWN", `unknown dtype ${quote(dtype)}`);
  if (end < begin) fail("OFFSETS_REVERSED", `data_offsets [${begin}, ${end}] end before they begin`);
  const size = byteLength(dtype, shape);
  if (size !== end - begin) {
    const what = `${dtype} [${shape.join(", ")}]`;
    if (size === "SHAPE_OVERFLOW") fail(size, `${what} has more than 2^53 - 1 bits`);
    if (size === "SUB_BYTE_MISALIGNED") fail(size, `${what} does not fill whole bytes`);
    const because = `data_offsets [${begin}, ${end}] hold ${end - begin} bytes, but ${what} needs ${size}`;
    fail("SIZE_MISMATCH", because, { received: `${end - begin} bytes`, expected: `${size} bytes` });
  }
  return { dtype, shape, start: dataStart + begin, end: dataStart + end };
}
