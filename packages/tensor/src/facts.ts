/** The feature behind which Dawn keeps subgroup matrices. */
const MATRIX_FEATURE = "chromium-experimental-subgroup-matrix" as GPUFeatureName;

/** A fragment that a subgroup multiplies at once: `[m, k]` times `[k, n]` of this type, summed in f32. */
export interface MatrixShape {
  readonly component: "f16" | "f32";
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

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
  /** bind groups that a process may hold; absent: any number */
  readonly maxBindGroups?: number;
  /** matrix units that sum in f32; empty where something that their kernel needs is missing */
  readonly matrices: readonly MatrixShape[];
}

/**
 * Of software Vulkan, where each bind group is a memory mapping: a third of Linux' 65,530 per process. What programs have dropped stays
 * mapped until it is collected, and drivers map their own memory, too.
 */
const SOFTWARE_BIND_GROUPS = 20_000;

/** Reads the facts off an open device. `immediates` needs the language feature and 64 bytes of immediate data. */
export function deviceFacts(
  device: GPUDevice,
  info: GPUAdapterInfo,
  languageFeatures: { has(name: string): boolean },
): DeviceFacts {
  const limits = device.limits as GPUSupportedLimits & { maxImmediateSize?: number };
  const software = info.isFallbackAdapter || info.architecture === "software";
  return {
    vendor: info.vendor,
    architecture: info.architecture,
    description: info.description,
    software,
    subgroups: device.features.has("subgroups"),
    subgroupMinSize: info.subgroupMinSize ?? 0,
    subgroupMaxSize: info.subgroupMaxSize ?? 0,
    immediates: languageFeatures.has("immediate_address_space") && (limits.maxImmediateSize ?? 0) >= 64,
    maxBindingBytes: Math.floor(limits.maxStorageBufferBindingSize / 256) * 256,
    offsetAlignment: Math.max(256, limits.minStorageBufferOffsetAlignment),
    maxWorkgroups: limits.maxComputeWorkgroupsPerDimension,
    ...(software ? { maxBindGroups: SOFTWARE_BIND_GROUPS } : {}),
    matrices: matrixShapes(device, info, languageFeatures),
  };
}

/** What the adapter lists (the feature is experimental and its types are not in @webgpu/types yet). */
interface MatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

function matrixShapes(
  device: GPUDevice,
  info: GPUAdapterInfo & { subgroupMatrixConfigs?: Iterable<MatrixConfig> },
  languageFeatures: { has(name: string): boolean },
): MatrixShape[] {
  const { limits, features } = device;
  const usable =
    features.has(MATRIX_FEATURE) &&
    features.has("subgroups") &&
    languageFeatures.has("subgroup_id") &&
    limits.maxComputeWorkgroupStorageSize >= 32_768 &&
    limits.maxComputeInvocationsPerWorkgroup >= 8 * (info.subgroupMaxSize ?? Infinity);
  if (!usable) return [];
  return [...(info.subgroupMatrixConfigs ?? [])].flatMap(({ componentType, resultComponentType, M, N, K }) => {
    const known = componentType === "f32" || (componentType === "f16" && features.has("shader-f16"));
    const fits = M % 4 === 0 && N % 4 === 0 && 32 % K === 0 && M * N <= 256;
    return known && fits && resultComponentType === "f32" ? [{ component: componentType, m: M, n: N, k: K }] : [];
  });
}
