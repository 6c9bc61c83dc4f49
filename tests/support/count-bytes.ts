import type { Device } from "@tunesmith/tensor";

/** Bytes of a device from now on, by wrapping its GPUDevice's own calls. */
export function countBytes(device: Device): { live: number; peak: number; created: number } {
  const count = { live: 0, peak: 0, created: 0 };
  const { gpu } = device;
  const create = gpu.createBuffer.bind(gpu);
  gpu.createBuffer = (descriptor): GPUBuffer => {
    const buffer = create(descriptor);
    count.live += descriptor.size;
    count.peak = Math.max(count.peak, count.live);
    count.created++;
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = (): undefined => {
      count.live -= descriptor.size;
      return destroy();
    };
    return buffer;
  };
  return count;
}
