import { TunesmithError } from "@tunesmith/core";

/** What can be wrong with an adapter, with quantized weights, or with a request for one. */
export type LoraErrorCode =
  | "TARGET_UNMATCHED" // target_modules names nothing in the model
  | "ADAPTER_CONFIG_INVALID"
  | "ADAPTER_UNSUPPORTED" // a feature of PEFT that this version does not implement
  | "ADAPTER_TENSOR_MISSING"
  | "ADAPTER_TENSOR_UNEXPECTED"
  | "ADAPTER_TENSOR_MISMATCH"
  | "ADAPTERS_INCOMPATIBLE" // of two base models
  | "COMBINATION_INVALID"
  | "MERGE_UNSUPPORTED" // a base whose weights cannot take an update
  | "QUANT_UNSUPPORTED" // a way to quantize that this version does not read
  | "QUANT_INVALID" // settings, or what a checkpoint says about its own
  | "QUANT_TENSOR_MISSING"
  | "QUANT_TENSOR_MISMATCH" // shape, dtype or values of one of a quantized matrix's tensors
  | "WEIGHT_NOT_FINITE";

export class LoraError extends TunesmithError<LoraErrorCode> {}
