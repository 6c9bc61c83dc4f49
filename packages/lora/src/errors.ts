import { TunesmithError } from "@tunesmith/core";

/** What can be wrong with an adapter or a request for one. */
export type LoraErrorCode =
  | "TARGET_UNMATCHED" // target_modules names nothing in the model
  | "ADAPTER_CONFIG_INVALID"
  | "ADAPTER_UNSUPPORTED" // a feature of PEFT that this version does not implement
  | "ADAPTER_TENSOR_MISSING"
  | "ADAPTER_TENSOR_UNEXPECTED"
  | "ADAPTER_TENSOR_MISMATCH"
  | "ADAPTERS_INCOMPATIBLE" // of two base models
  | "COMBINATION_INVALID"
  | "MERGE_UNSUPPORTED"; // a base whose weights cannot take an update

export class LoraError extends TunesmithError<LoraErrorCode> {}
