// Which exit code a failure ends with. Packages that judge files and settings fail with "bad input"; every other code
// stands in a table closed by its type, so a new one does not compile until someone has decided what it means to a
// script.

import { isTunesmithError } from "@tunesmith/core";
import type { InputErrorCode } from "@tunesmith/core";
import type { DataErrorCode } from "@tunesmith/data";
import type { LoraErrorCode } from "@tunesmith/lora";
import type { ModelErrorCode } from "@tunesmith/models";
import type { NodeErrorCode } from "@tunesmith/node";
import type { OptimErrorCode } from "@tunesmith/optim";
import type { SafetensorsErrorCode } from "@tunesmith/safetensors";
import type { SftErrorCode } from "@tunesmith/sft";
import type { TensorErrorCode } from "@tunesmith/tensor";
import type { CliErrorCode } from "./errors.ts";

/** Codes of packages whose every failure is bad input. */
type InputCode =
  | InputErrorCode
  | DataErrorCode
  | SafetensorsErrorCode
  | ModelErrorCode
  | LoraErrorCode
  | Exclude<CliErrorCode, "DAWN_UNLOADABLE">;

/** Every code a typed error may carry. `INTERRUPTED` ends with 128 + the signal's number instead of 2. */
export type ErrorCode =
  | InputCode
  | "BUG"
  | TensorErrorCode
  | SftErrorCode
  | OptimErrorCode
  | NodeErrorCode
  | CliErrorCode;

/** 0 fine; 1 our bug; 2 bad input or config; 3 numeric stop; 4 no device, device lost, out of memory. */
export type ExitCode = 0 | 1 | 2 | 3 | 4;

const BUG = 1;
const INPUT = 2;
const NUMERIC = 3;
const DEVICE = 4;

const OTHERS: { readonly [Code in Exclude<ErrorCode, InputCode>]: ExitCode } = {
  BUG,
  SHAPE_MISMATCH: BUG,
  DTYPE_MISMATCH: BUG,
  RECORDING: BUG,
  TENSOR_DISPOSED: BUG,
  DEVICE_VALIDATION: BUG,
  PARAMETER_DUPLICATE: BUG,
  PARAMETER_UNKNOWN: BUG,
  PARAMETER_SPLIT: BUG,
  PARAMETER_TOO_LARGE: DEVICE,
  PARAMETER_LENGTH: BUG,
  MOMENT_UNKNOWN: BUG,
  OPTION_INVALID: INPUT,
  NON_FINITE: NUMERIC,
  SELF_CHECK: NUMERIC,
  NO_ROWS: INPUT,
  HANDOVER_UNSOUND: INPUT,
  HANDOVER_CHANGED: INPUT,
  UNFREEZE_UNMATCHED: INPUT,
  DEVICE_LOST: DEVICE,
  OUT_OF_MEMORY: DEVICE,
  PROFILER_UNAVAILABLE: DEVICE,
  PROFILER_ACTIVE: BUG,
  MEMORY_BUDGET: DEVICE,
  CHECKPOINT_MISSING: INPUT,
  CHECKPOINT_UNSOUND: INPUT,
  CHECKPOINT_CHANGED: INPUT,
  NO_DEVICE: DEVICE,
  DEVICE_TOO_SMALL: DEVICE,
  DAWN_UNLOADABLE: DEVICE,
};

/** The exit code of a failure; anything that is not one of our typed errors is a bug. */
export function exitCodeOf(error: unknown): ExitCode {
  if (!isTunesmithError(error)) return BUG;
  return (OTHERS as Readonly<Record<string, ExitCode>>)[error.code] ?? INPUT;
}
