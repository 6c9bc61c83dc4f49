import type { Device } from "@tunesmith/tensor";
import type { TrainEvent } from "@tunesmith/sft";

/** Runs the first `steps` steps of the recipe. */
export function trainBase(
  device: Device,
  steps?: number,
): AsyncGenerator<
  TrainEvent,
  { weights: Map<string, Float32Array>; shapes: Map<string, readonly number[]> },
  undefined
>;
