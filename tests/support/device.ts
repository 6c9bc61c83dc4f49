// One device per test process, opened as tests want it: validation on, fresh eager tensors full of NaN.
import { openDevice } from "@tunesmith/node";
import type { OpenOptions } from "@tunesmith/node";
import { type Tensor, upload } from "@tunesmith/tensor";
import type { Device } from "@tunesmith/tensor";

const shared = globalThis as { tunesmithTestDevices?: Map<string, Promise<Device>> };

/** The shared test device; `facts` opens another one that pretends to be different hardware. */
export function testDevice(facts?: NonNullable<OpenOptions["facts"]>): Promise<Device> {
  const devices = (shared.tunesmithTestDevices ??= new Map());
  const key = JSON.stringify(facts ?? {});
  let device = devices.get(key);
  if (!device) devices.set(key, (device = openDevice({ validate: true, poison: true, ...(facts ? { facts } : {}) })));
  return device;
}

/** Uploads numbers as f32. */
export function f32(device: Device, shape: readonly number[], values: ArrayLike<number>): Tensor<"f32"> {
  return upload(device, shape, "f32", Float32Array.from(values));
}

export function i32(device: Device, shape: readonly number[], values: ArrayLike<number>): Tensor<"i32"> {
  return upload(device, shape, "i32", Int32Array.from(values));
}

/** A tensor's elements as float64. */
export async function values(tensor: Tensor): Promise<Float64Array> {
  return Float64Array.from(await tensor.read());
}
