// A device that only plans: states count their bytes and hold none, programs are recorded and planned, nothing runs.

import { Device } from "./device.ts";
import type { DeviceOptions } from "./device.ts";
import { TensorError } from "./errors.ts";
import type { DeviceFacts } from "./facts.ts";

/**
 * A device for planning what would run on hardware with these facts, however large. Tensors made with `state` have no
 * memory, writing to them does nothing, and whatever would need the GPU throws TensorError `RECORDING`.
 *
 * @param options - those of the device that is planned for; in debug mode programs are longer
 */
export function virtualDevice(
  facts: DeviceFacts,
  options: Pick<DeviceOptions, "checkFinite" | "compute"> = {},
): Device {
  const info = { vendor: facts.vendor, architecture: facts.architecture } as GPUAdapterInfo;
  return new Device(nullGpu(), info, { ...options, facts, virtual: true });
}

/** A device for planning what would run on an open one, with the kernels that it has chosen so far. */
export function virtualTwin(device: Device): Device {
  const { checkFinite, compute } = device.options;
  const twin = virtualDevice(device.facts, {
    ...(checkFinite ? { checkFinite } : {}),
    ...(compute ? { compute } : {}),
  });
  twin.kernelChoices.import(device.kernelChoices.export());
  return twin;
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
