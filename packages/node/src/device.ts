// Opens a GPU through Dawn with the flags our kernels are written for. Dawn crashes the process if the object that
// `create` returns, the adapter or the device is collected while in use, so all three stay referenced here.

import { TunesmithError } from "@tunesmith/core";
import { Device } from "@tunesmith/tensor";
import type { DeviceOptions } from "@tunesmith/tensor";
import { create } from "webgpu";
import { nodeFiles } from "./files.ts";
import { cacheFolder, fileKernelCache } from "./kernel-cache.ts";
import { settled } from "./settled.ts";

/** Codes of failures to open a GPU. */
export type NodeErrorCode = "NO_DEVICE" | "DEVICE_TOO_SMALL";
export class NodeError extends TunesmithError<NodeErrorCode> {}

export interface OpenOptions {
  /** part of the adapter's name; default: the fastest one */
  readonly device?: string;
  /** mixed allows operands of products to be rounded to f16; default f32 */
  readonly compute?: "f32" | "mixed";
  /** validation and robustness on; every launch checked for NaN and Inf */
  readonly debug?: boolean;
  /** validation and robustness on without the NaN checks: what tests run with */
  readonly validate?: boolean;
  /** fills new eager tensors with NaN: what tests of ops run with */
  readonly poison?: boolean;
  /** see `DeviceOptions`; a limit of its own is set where the GPU probably drives a screen */
  readonly submitLimit?: DeviceOptions["submitLimit"];
  /** overrides single device facts, to test fallbacks */
  readonly facts?: DeviceOptions["facts"];
}

const PRODUCTION = [
  "disable_robustness",
  "disable_workgroup_init",
  "disable_polyfills_on_integer_div_and_mod",
  "skip_validation",
];
const ALWAYS = ["allow_unsafe_apis", "vulkan_enable_f16_on_nvidia", "use_vulkan_memory_model"];
const NEVER = ["timestamp_quantization", "lazy_clear_resource_on_first_use"];

const keptAlive: unknown[] = [];

/** What `openDevice` gives to Dawn: for comparing other users of Dawn on the same terms. */
export function dawnFlags(options: Pick<OpenOptions, "device" | "debug" | "validate"> = {}): string[] {
  const safe = options.debug === true || options.validate === true;
  return [
    ...(process.platform === "linux" ? ["backend=vulkan"] : []),
    ...(options.device === undefined ? [] : [`adapter=${options.device}`]),
    `enable-dawn-features=${[...ALWAYS, ...(safe ? [] : PRODUCTION)].join(",")}`,
    `disable-dawn-features=${[...NEVER, ...(safe ? [] : ["enable_spirv_validation"])].join(",")}`,
  ];
}

/** A submit that keeps a screen's GPU busy freezes the picture, and after about two seconds a watchdog kills it. */
function screenLimit(): DeviceOptions["submitLimit"] {
  const screen = process.platform !== "linux" || process.env["DISPLAY"] || process.env["WAYLAND_DISPLAY"];
  return screen ? { ms: 200, now: () => performance.now() } : undefined;
}

/**
 * Opens a device.
 *
 * @throws NodeError `NO_DEVICE` with the way to get a driver
 */
export async function openDevice(options: OpenOptions = {}): Promise<Device> {
  process.env["XDG_RUNTIME_DIR"] ??= process.env["TMPDIR"] ?? "/tmp";
  const gpu = create(dawnFlags(options));
  const adapter = await gpu.requestAdapter({
    featureLevel: "core",
    powerPreference: "high-performance",
  });
  if (!adapter)
    throw new NodeError(
      "NO_DEVICE",
      options.device === undefined
        ? "no WebGPU device was found"
        : `no WebGPU device whose name contains "${options.device}" was found`,
      {
        fix: "run `tunesmith doctor`: it says what is missing and how to get it",
      },
    );
  const wanted = [
    "subgroups",
    "shader-f16",
    "timestamp-query",
    "chromium-experimental-subgroup-matrix",
  ] as GPUFeatureName[];
  const { limits } = adapter;
  const device = await adapter.requestDevice({
    requiredFeatures: wanted.filter((f) => adapter.features.has(f)),
    requiredLimits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxStorageBuffersPerShaderStage: Math.min(16, limits.maxStorageBuffersPerShaderStage),
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
      ...(gpu.wgslLanguageFeatures.has("immediate_address_space") ? { maxImmediateSize: 64 } : {}),
    },
  });
  keptAlive.push(gpu, adapter, device);
  const software = adapter.info.isFallbackAdapter || adapter.info.architecture === "software";
  const submitLimit = options.submitLimit ?? (software ? undefined : screenLimit());
  // software devices keep to the shipped table; what tests and debugging measure is not worth keeping
  const measures = !software && options.validate !== true && options.debug !== true;
  const kernelCache = measures ? fileKernelCache(nodeFiles(), cacheFolder(nodeFiles()), adapter.info) : undefined;
  const opened = new Device(device, adapter.info, {
    languageFeatures: gpu.wgslLanguageFeatures,
    settle: settled,
    ...(submitLimit ? { submitLimit } : {}),
    ...(kernelCache ? { kernelCache } : {}),
    ...(options.compute ? { compute: options.compute } : {}),
    ...(options.poison ? { poison: true } : {}),
    ...(options.debug ? { checkFinite: true } : {}),
    ...(options.facts ? { facts: options.facts } : {}),
  });
  if (kernelCache) opened.kernelChoices.import(await kernelCache.load());
  return opened;
}
