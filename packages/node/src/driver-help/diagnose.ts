// Why there is no WebGPU device, and the command that changes it. One text for each cause, used by set-up in a
// clone and by `tunesmith doctor` where tunesmith is installed.

import type { PlatformFacts, VulkanDriver } from "./facts.ts";
import { installCommands } from "./install-commands.ts";

/** What asking Dawn for a device gave. `adapter` describes the device, `reason` is the driver's or Dawn's own text. */
export type ProbeOutcome =
  | { readonly kind: "device"; readonly adapter: string; readonly software: boolean }
  /** the loader found no driver, or no driver found a device */
  | { readonly kind: "no_adapter" }
  /** there is an adapter, but it gives no device, or computes wrongly */
  | { readonly kind: "refused"; readonly adapter: string; readonly reason: string }
  /** Node could not load Dawn */
  | { readonly kind: "load_failed"; readonly reason: string }
  | { readonly kind: "crashed"; readonly reason: string };

/** Causes, told apart because each has its own fix. */
export type DiagnosisCode =
  | "ARCH_UNSUPPORTED"
  | "LIBC_UNSUPPORTED"
  | "GLIBC_TOO_OLD"
  | "LIBSTDCXX_TOO_OLD"
  | "DAWN_UNLOADABLE"
  | "DRIVER_CHOICE_WRONG"
  | "LOADER_MISSING"
  | "DRIVER_MISSING"
  | "DRIVER_TOO_OLD"
  | "DRIVER_CRASHED"
  | "DEVICE_REFUSED"
  | "DEVICE_NOT_FOUND";

/** One cause with its fix. */
export interface Diagnosis {
  readonly code: DiagnosisCode;
  readonly message: string;
  /** what to do, a command or a sentence a line */
  readonly fix: string;
  /** true if Mesa's software driver, installed from the distribution, would give a device */
  readonly softwareDriverHelps: boolean;
}

/** Dawn's prebuilt addon (npm `webgpu` 0.6) refers to symbols of these versions: `objdump -T dawn.node`. */
const GLIBC = "2.34";
const LIBSTDCXX = "GLIBCXX_3.4.30";
/**
 * The third number of the Vulkan version that a driver announces grows with every Mesa release, whatever stands before
 * it: 22.3 says 1.1.230 and is refused by Dawn, 23.2 says 1.1.255 and works, 25.0 says 1.4.305.
 */
const LAVAPIPE_API_PATCH = 255;
const CONTAINER = "or run it in a container of Debian 12, Ubuntu 22.04 or newer";

/** Names the one thing to mend first. Call it when `probe.kind` is not "device". */
export function diagnose(facts: PlatformFacts, probe: ProbeOutcome): Diagnosis {
  if (facts.platform !== "linux") return diagnoseElsewhere(facts, probe);
  return diagnoseRuntime(facts, probe) ?? diagnoseDriver(facts, probe);
}

function diagnoseElsewhere(facts: PlatformFacts, probe: ProbeOutcome): Diagnosis {
  const name = { darwin: "macOS", win32: "Windows" }[facts.platform as string];
  const reason = "reason" in probe ? ` (${probe.reason})` : "";
  if (name === undefined || !["x64", "arm64"].includes(facts.arch)) return unsupportedPlatform(facts);
  const fix =
    name === "macOS"
      ? "use a Mac with macOS 12 or newer; a virtual machine needs a virtual GPU with Metal. tunesmith has not been tried on macOS yet: please report what happened"
      : "install the current driver of your GPU's maker and Windows' updates; over Remote Desktop or in a virtual machine Windows may offer no Direct3D 12 device. tunesmith has not been tried on Windows yet: please report what happened";
  return {
    code: "DEVICE_NOT_FOUND",
    message: `${name} offers no WebGPU device${reason}`,
    fix,
    softwareDriverHelps: false,
  };
}

function unsupportedPlatform(facts: PlatformFacts): Diagnosis {
  return {
    code: "ARCH_UNSUPPORTED",
    message: `Dawn, the WebGPU implementation, has no build for ${facts.platform} on ${facts.arch}`,
    fix: "use Linux, macOS or Windows on x64 or arm64, with a Node of the same kind (node -p process.arch)",
    softwareDriverHelps: false,
  };
}

/** What keeps Node from loading Dawn at all. */
function diagnoseRuntime(facts: PlatformFacts, probe: ProbeOutcome): Diagnosis | undefined {
  const system = facts.os?.prettyName ?? "this system";
  const stop = (code: DiagnosisCode, message: string, fix: string): Diagnosis => ({
    code,
    message,
    fix,
    softwareDriverHelps: false,
  });
  if (!["x64", "arm64"].includes(facts.arch)) return unsupportedPlatform(facts);
  if (facts.glibc === undefined) {
    return stop(
      "LIBC_UNSUPPORTED",
      `${system} has no glibc, which Dawn's build for Linux needs (musl will not do)`,
      `use a distribution with glibc ${GLIBC} or newer, ${CONTAINER}`,
    );
  }
  if (isOlder(facts.glibc, GLIBC)) {
    return stop(
      "GLIBC_TOO_OLD",
      `${system} has glibc ${facts.glibc}; Dawn's build for Linux needs ${GLIBC} or newer`,
      `upgrade the distribution, ${CONTAINER}`,
    );
  }
  if (probe.kind !== "load_failed") return undefined;
  if (/GLIBCXX_|CXXABI_|libstdc\+\+/.test(probe.reason)) {
    return stop(
      "LIBSTDCXX_TOO_OLD",
      `${system} has no libstdc++ with ${LIBSTDCXX} (that of GCC 12), which Dawn's build for Linux needs: ${probe.reason}`,
      `install a newer libstdc++ (Debian, Ubuntu: apt-get install libstdc++6), put its folder into LD_LIBRARY_PATH if it is not the system's, ${CONTAINER}`,
    );
  }
  return stop("DAWN_UNLOADABLE", `Node could not load Dawn: ${probe.reason}`, "delete node_modules and install again");
}

function diagnoseDriver(facts: PlatformFacts, probe: ProbeOutcome): Diagnosis {
  const lavapipe = facts.drivers.find((driver) => driver.library.includes("lvp"));
  const cause = driverCause(facts, probe, lavapipe);
  if (cause.code === "DRIVER_CHOICE_WRONG")
    return { ...cause, fix: `unset ${facts.driverChoice}, or name a driver that works`, softwareDriverHelps: false };
  const hints = nvidiaHint(facts);
  const commands = installCommands(facts.os);
  const usable = lavapipe !== undefined && isNewEnough(lavapipe);
  if (usable && facts.loader !== undefined) {
    const fix = "look at what `vulkaninfo --summary` (package vulkan-tools) says, and report it with this message";
    return { ...cause, fix: [...hints, fix].join("\n"), softwareDriverHelps: false };
  }
  return { ...cause, fix: [...hints, ...commands].join("\n"), softwareDriverHelps: true };
}

function driverCause(
  facts: PlatformFacts,
  probe: ProbeOutcome,
  lavapipe: VulkanDriver | undefined,
): Pick<Diagnosis, "code" | "message"> {
  const found = facts.drivers.map((driver) => driver.manifest).join(", ");
  if (facts.driverChoice !== undefined) {
    return {
      code: "DRIVER_CHOICE_WRONG",
      message: `${facts.driverChoice} names Vulkan drivers of your choice (${found || "none of them exists"}), and they give no WebGPU device`,
    };
  }
  if (facts.loader === undefined)
    return { code: "LOADER_MISSING", message: "the Vulkan loader (libvulkan.so.1) is not installed" };
  if (facts.drivers.length === 0)
    return { code: "DRIVER_MISSING", message: "the Vulkan loader is here, but no Vulkan driver is installed" };
  if (probe.kind === "crashed")
    return {
      code: "DRIVER_CRASHED",
      message: `a Vulkan driver (${found}) crashed when asked for a device:\n${probe.reason}`,
    };
  if (probe.kind === "refused")
    return { code: "DEVICE_REFUSED", message: `the device "${probe.adapter}" cannot be used: ${probe.reason}` };
  if (lavapipe !== undefined && !isNewEnough(lavapipe)) {
    return {
      code: "DRIVER_TOO_OLD",
      message: `Mesa's software driver is too old: it announces Vulkan ${lavapipe.apiVersion}, and Dawn needs Mesa 23.2 (a third number of at least ${LAVAPIPE_API_PATCH}) or newer`,
    };
  }
  return {
    code: "DEVICE_NOT_FOUND",
    message: `Vulkan drivers are installed (${found}), but none of them offers a device that Dawn accepts`,
  };
}

function nvidiaHint(facts: PlatformFacts): string[] {
  if (!facts.hasNvidiaGpu || facts.drivers.some((driver) => driver.library.includes("nvidia"))) return [];
  return [
    "There is an NVIDIA GPU, but its Vulkan driver is missing. In a container: start it with NVIDIA_DRIVER_CAPABILITIES=all;",
    "else install the libnvidia-gl package of your driver's version. Without a GPU, for the software driver:",
  ];
}

function isNewEnough(lavapipe: VulkanDriver): boolean {
  return Number(lavapipe.apiVersion.split(".")[2]) >= LAVAPIPE_API_PATCH;
}

/** True when dotted version `a` comes before `b`. Text without a number counts as older. */
function isOlder(a: string, b: string): boolean {
  const [left, right] = [a, b].map((version) => version.split(".").map(Number));
  for (const [i, wanted] of (right ?? []).entries()) {
    const have = left?.[i] ?? 0;
    if (have !== wanted) return !(have > wanted);
  }
  return false;
}
