import { TunesmithError } from "@tunesmith/core";
import type { ErrorDetails } from "@tunesmith/core";

/** Every way in which a safetensors file, a sharded model folder or a request about them can be wrong. */
export type SafetensorsErrorCode =
  /** the file has fewer than the 8 bytes that hold the header's length */
  | "FILE_TOO_SMALL"
  /** the header is longer than 100,000,000 bytes, read or about to be written */
  | "HEADER_TOO_LARGE"
  /** the header claims more bytes than the file has: truncated, or not a safetensors file */
  | "HEADER_BEYOND_FILE"
  /** the header holds bytes that are not UTF-8 */
  | "HEADER_NOT_UTF8"
  /** the header is not one JSON object: syntax, byte-order mark, text behind it, lone surrogate */
  | "HEADER_NOT_JSON"
  /** the header nests arrays and objects deeper than 4 */
  | "HEADER_TOO_DEEP"
  /** a key appears twice: a tensor, a metadata key, a field of a tensor, a tensor of an index */
  | "DUPLICATE_KEY"
  /** a number that is not a plain integer from 0 to 2^53 − 1 (sign, fraction, exponent, leading zero, too large) */
  | "NUMBER_INVALID"
  /** more tensors (2^20), metadata keys (2^16), dimensions (64) or unknown fields than a header or index may make us keep */
  | "LIMIT_EXCEEDED"
  /** `__metadata__` is neither null nor an object whose values are all texts */
  | "METADATA_INVALID"
  /** a tensor's entry is not an object with `dtype`, `shape` and two `data_offsets` */
  | "ENTRY_INVALID"
  /** a dtype that the format does not define */
  | "DTYPE_UNKNOWN"
  /** the number of elements or of bits passes 2^53 − 1 */
  | "SHAPE_OVERFLOW"
  /** a sub-byte tensor that does not fill whole bytes */
  | "SUB_BYTE_MISALIGNED"
  /** a data range ends before it begins */
  | "OFFSETS_REVERSED"
  /** a data range is not as long as shape × dtype */
  | "SIZE_MISMATCH"
  /** two data ranges share bytes */
  | "DATA_OVERLAP"
  /** bytes before, or between, data ranges belong to no tensor */
  | "DATA_HOLE"
  /** data ranges reach past the end of the file: truncated */
  | "DATA_BEYOND_FILE"
  /** bytes behind the last tensor */
  | "TRAILING_BYTES"
  /** there is no tensor of that name */
  | "TENSOR_UNKNOWN"
  /** the bytes asked for lie outside the tensor */
  | "RANGE_OUTSIDE_TENSOR"
  /** the dtype has no exact conversion to float32 here */
  | "DTYPE_NOT_CONVERTIBLE"
  /** bytes to convert, or chunks to write, are not as many as dtype and shape ask for */
  | "DATA_LENGTH"
  /** a tensor to write has the reserved name `__metadata__`, or a text to write holds a lone surrogate */
  | "NAME_INVALID"
  /** the folder has neither `model.safetensors` nor `model.safetensors.index.json` */
  | "MODEL_MISSING"
  /** the folder has both, and the index names other files than `model.safetensors` */
  | "MODEL_AMBIGUOUS"
  /** the index is not UTF-8 JSON of depth ≤ 4 with a `weight_map` of texts, or larger than 100,000,000 bytes */
  | "INDEX_INVALID"
  /** a file name is not a plain name: separator, `..`, drive, NUL or other control character, empty */
  | "PATH_NOT_PLAIN"
  /** a file name leads out of its folder through a symbolic link */
  | "PATH_OUTSIDE"
  /** the folder has no file of exactly that name, upper and lower case included */
  | "FILE_NOT_IN_FOLDER"
  /** the index names a tensor that its shard does not have */
  | "TENSOR_NOT_IN_SHARD"
  /** a shard has a tensor that the index names in another shard, or in both */
  | "TENSOR_IN_WRONG_SHARD"
  /** a shard has a tensor that the index does not name */
  | "TENSOR_NOT_IN_INDEX";

/** A safetensors file or model folder is wrong, or was asked for something it does not have. */
export class SafetensorsError extends TunesmithError<SafetensorsErrorCode> {
  /** the tensor or metadata key at fault, where there is one */
  readonly tensor: string | undefined;
  /** byte position in the file, where there is one */
  readonly offset: number | undefined;

  constructor(
    code: SafetensorsErrorCode,
    message: string,
    details: ErrorDetails & { readonly tensor?: string | undefined; readonly offset?: number | undefined } = {},
  ) {
    const { tensor, offset, ...rest } = details;
    super(code, message, rest);
    this.name = "SafetensorsError";
    this.tensor = tensor;
    this.offset = offset;
  }
}

/** A name for a message: quoted, control characters escaped, cut so that a hostile name stays one line. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 120)}…` : name);
}
