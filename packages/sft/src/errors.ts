import { TunesmithError } from "@tunesmith/core";

/** What can stop a run. */
export type SftErrorCode =
  | "NON_FINITE" // a NaN or Inf reached the gradient norm; the weights were not changed
  | "MEMORY_BUDGET" // no way to run fits the memory
  | "NO_ROWS"; // a split or an evaluation set is empty

export class SftError extends TunesmithError<SftErrorCode> {}
