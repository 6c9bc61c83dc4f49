import { TunesmithError } from "@tunesmith/core";

/** Everything that can be wrong with data on its way to a batch. Each code has a test in `errors.test.ts`. */
export type DataErrorCode =
  | "PATH_UNMATCHED"
  | "FILE_FORMAT_UNKNOWN"
  | "GZIP_INVALID"
  | "GZIP_BOMB"
  | "CSV_INVALID"
  | "PARQUET_INVALID"
  | "PREPARED_INVALID"
  | "FORMAT_UNKNOWN"
  | "FORMAT_UNSUPPORTED"
  | "MAP_INVALID"
  | "COLUMN_UNKNOWN"
  | "COLUMN_MISSING"
  | "VALUE_INVALID"
  | "ROLE_UNKNOWN"
  | "LINE_TOO_LONG"
  | "TEXT_INVALID"
  | "TOKENIZER_INVALID"
  | "EOS_MISSING"
  | "TEMPLATE_MISSING"
  | "TEMPLATE_INVALID"
  | "TEMPLATE_FAILED"
  | "TEMPLATE_UNSTABLE"
  | "TEMPLATE_LIMIT"
  | "TRAIN_ON_INVALID"
  | "DOUBLE_BOS"
  | "TOKEN_OUT_OF_RANGE"
  | "ROW_TOO_LONG"
  | "TOO_MUCH_LOST"
  | "NO_TARGETS"
  | "TASK_EMPTY"
  | "TASK_CONFLICT"
  | "MIXTURE_INVALID"
  | "SCHEDULE_INVALID"
  | "SCHEDULE_EXHAUSTED"
  | "SPLIT_INVALID"
  | "CONTAMINATED";

/** A mistake in a dataset, a chat template, a tokenizer folder or a mixture. Branch on `code`. */
export class DataError extends TunesmithError<DataErrorCode> {}
