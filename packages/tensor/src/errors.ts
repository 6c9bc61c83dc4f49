import { TunesmithError } from "@tunesmith/core";

/** What can go wrong in this package. */
export type TensorErrorCode =
  | "SHAPE_MISMATCH"
  | "DTYPE_MISMATCH"
  | "RECORDING" // an eager-only call while recording, or the reverse
  | "TENSOR_DISPOSED"
  | "DEVICE_LOST"
  | "DEVICE_VALIDATION"
  | "OUT_OF_MEMORY"
  | "PROFILER_UNAVAILABLE" // no timestamp-query
  | "PROFILER_ACTIVE";

export class TensorError extends TunesmithError<TensorErrorCode> {}

/** A tensor argument has the wrong shape. */
export class ShapeError extends TensorError {
  constructor(at: {
    op: string;
    arg: string;
    received: readonly number[];
    expected: readonly (number | string)[];
    because: string;
  }) {
    super(
      "SHAPE_MISMATCH",
      `${at.op}: ${at.arg} has shape [${at.received.join(", ")}], expected [${at.expected.join(", ")}] because ${at.because}`,
      { received: `[${at.received.join(", ")}]`, expected: `[${at.expected.join(", ")}]` },
    );
  }
}
