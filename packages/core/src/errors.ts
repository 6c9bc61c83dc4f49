// Errors are values to branch on: a literal `code`, the data as fields, and a text that says what was
// being done, what was received, what was expected, and how to fix it.

const MARK: unique symbol = Symbol.for("tunesmith.error") as never;

/** What an error may carry beside its text. Every field is optional and ends up in the JSON form. */
export interface ErrorDetails {
  /** the file or folder the error is about */
  readonly path?: string;
  /** 1-based line in `path` */
  readonly line?: number;
  /** 1-based row in `path`, where rows are not lines */
  readonly row?: number;
  /** offset in `path`, before which everything was right */
  readonly byte?: number;
  /** what should have been there */
  readonly expected?: string;
  /** what was there */
  readonly received?: string;
  /** one sentence that tells the reader what to do */
  readonly fix?: string;
  readonly cause?: unknown;
}

/** The form of an error that `--json` prints under the key `error`. */
export interface ErrorJson {
  code: string;
  message: string;
  path?: string;
  line?: number;
  row?: number;
  byte?: number;
  expected?: string;
  received?: string;
  fix?: string;
}

/**
 * Base of every error tunesmith throws on purpose. Branch on `code`; never parse `message`.
 *
 * @example
 * ```ts
 * throw new TunesmithError("FILE_MISSING", "model folder not found", { path, fix: "check `model:` in the config" });
 * ```
 */
export class TunesmithError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly details: ErrorDetails;

  constructor(code: Code, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "TunesmithError";
    this.code = code;
    this.details = details;
    Object.defineProperty(this, MARK, { value: true });
  }

  toJSON(): ErrorJson {
    const { path, line, row, byte, expected, received, fix } = this.details;
    return {
      code: this.code,
      message: this.message,
      ...(path === undefined ? {} : { path }),
      ...(line === undefined ? {} : { line }),
      ...(row === undefined ? {} : { row }),
      ...(byte === undefined ? {} : { byte }),
      ...(expected === undefined ? {} : { expected }),
      ...(received === undefined ? {} : { received }),
      ...(fix === undefined ? {} : { fix }),
    };
  }
}

/** Codes of mistakes in what a caller handed over that belong to no single package. */
export type InputErrorCode = "JSON_INVALID" | "UTF8_INVALID" | "FILE_MISSING" | "FILE_UNREADABLE";

/** The caller's input is wrong in a way that belongs to no single package. */
export class InputError extends TunesmithError<InputErrorCode> {}

/** A broken invariant of our own: never the user's fault, exit code 1. */
export class BugError extends TunesmithError<"BUG"> {
  constructor(message: string, details: ErrorDetails = {}) {
    super("BUG", message, { fix: "this is a bug in tunesmith; please report it with the command you ran", ...details });
  }
}

/** True for our errors, also when two copies of this package are loaded (`instanceof` would fail there). */
export function isTunesmithError(error: unknown): error is TunesmithError {
  return typeof error === "object" && error !== null && MARK in error;
}
