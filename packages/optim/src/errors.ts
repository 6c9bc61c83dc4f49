import { TunesmithError } from "@tunesmith/core";

/** Codes of mistakes in what an optimizer was given. */
export type OptimErrorCode =
  | "PARAMETER_DUPLICATE"
  | "PARAMETER_UNKNOWN"
  | "PARAMETER_SPLIT"
  | "PARAMETER_TOO_LARGE"
  | "PARAMETER_LENGTH"
  | "MOMENT_UNKNOWN" // the store was made for another optimizer
  | "OPTION_INVALID";

export class OptimError extends TunesmithError<OptimErrorCode> {}
