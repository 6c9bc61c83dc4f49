// Eager mode: launches go into one open compute pass that is submitted every 128 dispatches, before any host
// write, and before any read.

import type { Device } from "./device.ts";
import { USAGE } from "./device.ts";
import { TensorError } from "./errors.ts";
import type { Launch } from "./launch.ts";
import type { Tensor } from "./tensor.ts";

const PARAM_SLOT = 256;
const PARAM_SLOTS = 256;
const DISPATCHES_PER_SUBMIT = 128;
const CACHED_BIND_GROUPS = 4096;

export class Eager {
  readonly #device: Device;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #dispatches = 0;
  #bindGroups = new Map<string, GPUBindGroup>();
  #bufferIds = new WeakMap<GPUBuffer, number>();
  #nextBufferId = 1;
  #params: { buffer: GPUBuffer; group: GPUBindGroup } | undefined;
  #paramSlot = 0;
  #label = "";

  constructor(device: Device) {
    this.#device = device;
  }

  run(launch: Launch): void {
    const { variant, params, groups, indirect } = launch;
    const pipeline = this.#device.pipelines.get(variant);
    const bindGroup = this.#bindGroup(launch);
    this.#label = variant.label;
    if (!this.#pass) {
      this.#encoder = this.#device.gpu.createCommandEncoder({ label: "eager" });
      this.#pass = this.#encoder.beginComputePass();
    }
    this.#pass.setPipeline(pipeline);
    this.#pass.setBindGroup(0, bindGroup);
    if (variant.hasParams) this.#setParams(params);
    if (indirect) this.#pass.dispatchWorkgroupsIndirect(bufferOf(indirect), indirect.byteOffset);
    else this.#pass.dispatchWorkgroups(groups[0], groups[1]);
    if (++this.#dispatches >= DISPATCHES_PER_SUBMIT) this.flush();
  }

  /** Submits what is pending. */
  flush(): void {
    if (!this.#pass || !this.#encoder) return;
    this.#pass.end();
    this.#device.gpu.queue.submit([this.#encoder.finish()]);
    this.#pass = undefined;
    this.#encoder = undefined;
    this.#dispatches = 0;
    this.#paramSlot = 0;
  }

  write(tensor: Tensor, data: ArrayBufferView): void {
    this.flush();
    this.#device.gpu.queue.writeBuffer(
      bufferOf(tensor),
      tensor.byteOffset,
      data.buffer as ArrayBuffer,
      data.byteOffset,
      data.byteLength,
    );
  }

  /** Sets every byte of a tensor to zero. */
  clear(tensor: Tensor): void {
    this.flush();
    const encoder = this.#device.gpu.createCommandEncoder({ label: "clear" });
    encoder.clearBuffer(bufferOf(tensor), tensor.byteOffset, tensor.bytes);
    this.#device.gpu.queue.submit([encoder.finish()]);
  }

  /** Copies `bytes` of a tensor to the host. */
  async read(tensor: Tensor, bytes: number): Promise<ArrayBuffer> {
    this.flush();
    const device = this.#device;
    const size = Math.ceil(bytes / 4) * 4;
    const staging = device.createBuffer(Math.max(4, size), USAGE.mapRead | USAGE.copyDst, "staging", "read");
    try {
      const encoder = device.gpu.createCommandEncoder({ label: "read" });
      if (size > 0) encoder.copyBufferToBuffer(bufferOf(tensor), tensor.byteOffset, staging, 0, size);
      device.gpu.queue.submit([encoder.finish()]);
      await mapForRead(device, staging, `reading a tensor after ${this.#label || "upload"}`);
      return staging.getMappedRange().slice(0);
    } finally {
      device.destroyBuffer(staging, "staging");
    }
  }

  #bindGroup(launch: Launch): GPUBindGroup {
    let key = String(Object.keys(launch.variant.kernel.reads).length);
    const entries = launch.bindings.map((tensor, binding) => {
      const buffer = bufferOf(tensor);
      let id = this.#bufferIds.get(buffer);
      if (id === undefined) this.#bufferIds.set(buffer, (id = this.#nextBufferId++));
      key += `|${id},${tensor.byteOffset},${tensor.bytes}`;
      return { binding, resource: { buffer, offset: tensor.byteOffset, size: tensor.bytes } };
    });
    let group = this.#bindGroups.get(key);
    if (!group) {
      if (this.#bindGroups.size >= CACHED_BIND_GROUPS) this.#bindGroups.clear();
      group = this.#device.gpu.createBindGroup({ layout: launch.variant.layout, entries });
      this.#bindGroups.set(key, group);
    }
    return group;
  }

  #setParams(params: Uint32Array<ArrayBuffer>): void {
    const pass = this.#pass!;
    const layout = this.#device.paramsLayout;
    if (!layout) {
      pass.setImmediates(0, params);
      return;
    }
    if (!this.#params) {
      const buffer = this.#device.createBuffer(
        PARAM_SLOT * PARAM_SLOTS,
        USAGE.uniform | USAGE.copyDst,
        "uniforms",
        "eager params",
      );
      const group = this.#device.gpu.createBindGroup({
        layout,
        entries: [{ binding: 0, resource: { buffer, size: 64 } }],
      });
      this.#params = { buffer, group };
    }
    // the ring has more slots than a submit has dispatches, and a submit rewinds it
    const offset = this.#paramSlot++ * PARAM_SLOT;
    this.#device.gpu.queue.writeBuffer(this.#params.buffer, offset, params);
    pass.setBindGroup(1, this.#params.group, [offset]);
  }
}

/** Maps a staging buffer, turning a failure into the device's own story (lost, out of memory). */
export async function mapForRead(device: Device, staging: GPUBuffer, doing: string): Promise<void> {
  try {
    await device.settle(staging.mapAsync(1));
  } catch (cause) {
    device.check();
    throw new TensorError("DEVICE_LOST", `${doing} failed: ${String(cause)}`, { cause });
  }
  device.check();
}

/** The physical buffer of a tensor, or a clear error where there is none. */
export function bufferOf(tensor: Tensor): GPUBuffer {
  const buffer = tensor.storage.buffer;
  if (!buffer)
    throw new TensorError(
      "TENSOR_DISPOSED",
      `a tensor of shape [${tensor.shape.join(", ")}] has no memory: it was disposed, or belongs to a recorded program`,
      {
        fix: "keep it alive by returning it from its scope, or read it as an output of the program",
      },
    );
  return buffer;
}
