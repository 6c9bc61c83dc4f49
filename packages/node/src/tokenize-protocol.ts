// What main thread and tokenizing workers say to each other. Everything is plain; typed errors are taken apart, as structured
// cloning keeps of an error only its text.

import { type ErrorDetails, InputError, isTunesmithError, TunesmithError } from "@tunesmith/core";
import { type BatchJob, DataError, type DataErrorCode, type RawRow, type TokenChunk } from "@tunesmith/data";

/** What a worker is started with. */
export interface WorkerStart {
  /** model folder with the tokenizer */
  readonly folder: string;
}

/** A batch for a worker. */
export interface BatchRequest {
  readonly id: number;
  readonly rows: readonly PlainRow[];
  readonly job: BatchJob;
}

/** A worker's answer. */
export type BatchResponse =
  | { readonly id: number; readonly chunk: TokenChunk }
  | { readonly id: number; readonly error: PlainError }
  | { readonly id: number; readonly thrown: unknown };

interface PlainError {
  readonly kind: "data" | "input" | "other";
  readonly code: string;
  readonly message: string;
  readonly details: ErrorDetails;
}

/** A row whose error can be cloned. */
type PlainRow = Exclude<RawRow, { error: unknown }> | { readonly at: RawRow["at"]; readonly error: PlainError };

export function plainError(error: TunesmithError): PlainError {
  const { cause: _, ...details } = error.details;
  const kind = error instanceof DataError ? "data" : error instanceof InputError ? "input" : "other";
  return { kind, code: error.code, message: error.message, details };
}

export function errorOf({ kind, code, message, details }: PlainError): TunesmithError {
  if (kind === "data") return new DataError(code as DataErrorCode, message, details);
  if (kind === "input") return new InputError(code as InputError["code"], message, details);
  return new TunesmithError(code, message, details);
}

export function plainRows(rows: readonly RawRow[]): PlainRow[] {
  return rows.map((raw) => ("error" in raw ? { at: raw.at, error: plainError(raw.error) } : raw));
}

export function rowsOf(rows: readonly PlainRow[]): RawRow[] {
  return rows.map((raw) => ("error" in raw ? { at: raw.at, error: errorOf(raw.error) } : raw));
}

/** The answer of a batch that failed. */
export function failure(id: number, error: unknown): BatchResponse {
  return isTunesmithError(error) ? { id, error: plainError(error) } : { id, thrown: error };
}
