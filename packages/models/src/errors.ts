import { TunesmithError } from "@tunesmith/core";

/** What can be wrong with a model folder or with a request to a model. */
export type ModelErrorCode =
  | "CONFIG_INVALID" // a value of config.json is missing, of the wrong type, or contradicts another
  | "ARCHITECTURE_UNSUPPORTED" // a model_type, or a feature of it, that is not implemented
  | "TENSOR_MISSING"
  | "TENSOR_UNEXPECTED"
  | "TENSOR_MISMATCH" // shape or dtype
  | "TOKEN_OUT_OF_RANGE"
  | "CONTEXT_TOO_LONG";

export class ModelError extends TunesmithError<ModelErrorCode> {}
