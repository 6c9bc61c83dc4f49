// Recording: the same JavaScript that runs eagerly runs once without touching the GPU. Outputs become virtual
// storages, launches become a list, and plan.ts turns the list into a program.

import type { Device } from "./device.ts";
import { byteSize } from "./dtype.ts";
import type { DType } from "./dtype.ts";
import { TensorError } from "./errors.ts";
import type { Launch } from "./launch.ts";
import { Program } from "./program.ts";
import { Storage } from "./storage.ts";
import { Tensor } from "./tensor.ts";

export class Recorder {
  readonly launches: Launch[] = [];
  /** number of launches before the first of backward */
  backwardAt: number | undefined;

  /** Everything launched from now on belongs to backward. */
  beginBackward(): void {
    this.backwardAt ??= this.launches.length;
  }

  allocate(bytes: number): Storage {
    return new Storage(bytes, "activations", undefined, false);
  }
}

/** What a recorded function may ask for: everything that differs from replay to replay. */
export interface Inputs {
  /** Host data given anew at each replay. */
  input<D extends DType>(name: string, shape: readonly number[], dtype: D): Tensor<D>;
  /** One number given anew at each replay: learning rate, step, seed. Shape [1], f32 unless said. */
  scalar(name: string): Tensor<"f32">;
  scalar<D extends DType>(name: string, dtype: D): Tensor<D>;
}

/**
 * Records `body` into a program. Plain JavaScript numbers it uses are structure: whatever changes per step must
 * come through `inputs`. Tensors made with `state` may be read and updated; all others must be made inside.
 *
 * @param label - shown in plans and errors
 * @param body - returns the outputs to be read back, by name
 * @param options.inFlight - replays whose outputs may be waiting to be read at one time; default 2
 */
export function record(
  device: Device,
  label: string,
  body: (inputs: Inputs) => Readonly<Record<string, Tensor>>,
  options: { inFlight?: number } = {},
): Program {
  if (device.recorder) throw new TensorError("RECORDING", `program ${label} was recorded inside another recording`);
  const recorder = new Recorder();
  const inputs = new Map<string, Tensor>();
  const input = <D extends DType>(name: string, shape: readonly number[], dtype: D): Tensor<D> => {
    if (inputs.has(name)) throw new TensorError("RECORDING", `program ${label} declares input ${name} twice`);
    const tensor = new Tensor(device, shape, dtype, recorder.allocate(byteSize(shape, dtype)));
    inputs.set(name, tensor);
    return tensor;
  };
  const scalar = ((name: string, dtype: DType = "f32") => input(name, [1], dtype)) as Inputs["scalar"];
  device.recorder = recorder;
  try {
    const outputs = new Map(Object.entries(body({ input, scalar })));
    const { launches, backwardAt } = recorder;
    return new Program(device, label, { launches, backwardAt, inputs, outputs, inFlight: options.inFlight ?? 2 });
  } finally {
    device.recorder = undefined;
  }
}
