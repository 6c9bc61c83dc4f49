// A device that only plans: states count their bytes and hold none, programs are recorded and planned, nothing runs.

import { Device } from "./device.ts";
import { TensorError } from "./errors.ts";
import type { DeviceFacts } from "./facts.ts";

/**
 * A device for planning what would run on hardware with these facts, however large. Tensors made with `state` have no
 * memory, writing to them does nothing, and whatever would need the GPU throws TensorError `RECORDING`.
 *
 * @param options.checkFinite - plan for a device in debug mode, whose programs are longer
 */
export function virtualDevice(facts: DeviceFacts, options: { checkFinite?: boolean } = {}): Device {
  const info = { vendor: facts.vendor, architecture: facts.architecture } as GPUAdapterInfo;
  return new Device(nullGpu(), info, { ...options, facts, virtual: true });
}

function nullGpu(): GPUDevice {
  const known: Partial<Record<keyof GPUDevice, unknown>> = {
    limits: { maxBufferSize: Infinity },
    features: new Set(),
    lost: new Promise(() => {}),
    addEventListener: () => {},
    createBindGroupLayout: () => ({}),
    createPipelineLayout: () => ({}),
    destroy: () => {},
  };
  return new Proxy(known as unknown as GPUDevice, {
    get: (target, name) => {
      if (name in target) return Reflect.get(target, name) as unknown;
      throw new TensorError("RECORDING", `a device that only plans was asked to run something (${String(name)})`, {
        fix: "record on it and read the plan; replay on an open device",
      });
    },
  });
}
