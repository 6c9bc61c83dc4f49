/** What kernels may know about a device. Plain data, so that a test can pretend to be another device. */
export interface DeviceFacts {
  readonly vendor: string;
  readonly architecture: string;
  /** driver and version as the adapter says it; part of every cache key that depends on the driver */
  readonly description: string;
  /** a CPU pretending to be a GPU (lavapipe, SwiftShader, WARP) */
  readonly software: boolean;
  /** subgroup operations are available */
  readonly subgroups: boolean;
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  /** sizes travel as immediates (push constants); else through a uniform buffer */
  readonly immediates: boolean;
  /** bytes of the largest storage binding; larger tensors are lists of row shards */
  readonly maxBindingBytes: number;
  /** bytes; offsets of views are multiples of this */
  readonly offsetAlignment: number;
  /** workgroups per dimension */
  readonly maxWorkgroups: number;
}

/** Reads the facts off an open device. `immediates` needs the language feature and 64 bytes of immediate data. */
export function deviceFacts(
  device: GPUDevice,
  info: GPUAdapterInfo,
  languageFeatures: { has(name: string): boolean },
): DeviceFacts {
  const limits = device.limits as GPUSupportedLimits & { maxImmediateSize?: number };
  return {
    vendor: info.vendor,
    architecture: info.architecture,
    description: info.description,
    software: info.isFallbackAdapter || info.architecture === "software",
    subgroups: device.features.has("subgroups"),
    subgroupMinSize: info.subgroupMinSize ?? 0,
    subgroupMaxSize: info.subgroupMaxSize ?? 0,
    immediates: languageFeatures.has("immediate_address_space") && (limits.maxImmediateSize ?? 0) >= 64,
    maxBindingBytes: Math.floor(limits.maxStorageBufferBindingSize / 256) * 256,
    offsetAlignment: Math.max(256, limits.minStorageBufferOffsetAlignment),
    maxWorkgroups: limits.maxComputeWorkgroupsPerDimension,
  };
}
