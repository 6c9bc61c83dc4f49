import { expect, test } from "vitest";
import { diagnose, type DiagnosisCode, type ProbeOutcome } from "./diagnose.ts";
import type { PlatformFacts } from "./facts.ts";
import { parseOsRelease } from "./os-release.ts";

const bookworm = parseOsRelease(
  'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
);
const jammy = parseOsRelease("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=22.04\nVERSION_CODENAME=jammy\n");
const fedora = parseOsRelease('ID=fedora\nVERSION_ID=44\nPRETTY_NAME="Fedora Linux 44"\n');
const oldLavapipe = {
  manifest: "/usr/share/vulkan/icd.d/lvp_icd.json",
  library: "libvulkan_lvp.so",
  apiVersion: "1.1.230",
};
const newLavapipe = { ...oldLavapipe, apiVersion: "1.1.255" };
const nvidia = { manifest: "/etc/vulkan/icd.d/nvidia_icd.json", library: "libGLX_nvidia.so.0", apiVersion: "1.4.312" };

/** A Debian 12 that lacks nothing but a device. */
const whole: PlatformFacts = {
  platform: "linux",
  arch: "x64",
  isRoot: false,
  os: bookworm,
  glibc: "2.36",
  loader: "/usr/lib/x86_64-linux-gnu/libvulkan.so.1",
  drivers: [newLavapipe],
  driverChoice: undefined,
  hasNvidiaGpu: false,
  hasApt: true,
};
const none: ProbeOutcome = { kind: "no_adapter" };
const refused: ProbeOutcome = { kind: "refused", adapter: "mesa, gen9", reason: "no storage buffers" };
const glibcxx = "/lib64/libstdc++.so.6: version `GLIBCXX_3.4.30' not found";

interface Case {
  code: DiagnosisCode;
  facts: Partial<PlatformFacts>;
  probe?: ProbeOutcome;
  /** text that the message must hold */
  says: string;
  /** text that the fix must hold */
  fix: string;
  softwareDriverHelps: boolean;
}

const cases: Record<string, Case> = {
  "a machine Dawn has no build for": {
    code: "ARCH_UNSUPPORTED",
    facts: { arch: "riscv64" },
    says: "riscv64",
    fix: "x64 or arm64",
    softwareDriverHelps: false,
  },
  "another system": {
    code: "ARCH_UNSUPPORTED",
    facts: { platform: "freebsd" },
    says: "freebsd",
    fix: "Linux, macOS or Windows",
    softwareDriverHelps: false,
  },
  musl: {
    code: "LIBC_UNSUPPORTED",
    facts: { glibc: undefined },
    probe: { kind: "load_failed", reason: "x" },
    says: "musl",
    fix: "container",
    softwareDriverHelps: false,
  },
  "glibc 2.31": {
    code: "GLIBC_TOO_OLD",
    facts: { glibc: "2.31" },
    probe: { kind: "load_failed", reason: "x" },
    says: "glibc 2.31",
    fix: "upgrade",
    softwareDriverHelps: false,
  },
  "libstdc++ of GCC 11": {
    code: "LIBSTDCXX_TOO_OLD",
    facts: { glibc: "2.34" },
    probe: { kind: "load_failed", reason: glibcxx },
    says: glibcxx,
    fix: "libstdc++6",
    softwareDriverHelps: false,
  },
  "a damaged addon": {
    code: "DAWN_UNLOADABLE",
    facts: {},
    probe: { kind: "load_failed", reason: "invalid ELF header" },
    says: "invalid ELF header",
    fix: "node_modules",
    softwareDriverHelps: false,
  },
  "a driver of the user's choice": {
    code: "DRIVER_CHOICE_WRONG",
    facts: { driverChoice: "VK_DRIVER_FILES", drivers: [] },
    says: "VK_DRIVER_FILES",
    fix: "unset VK_DRIVER_FILES",
    softwareDriverHelps: false,
  },
  "no loader": {
    code: "LOADER_MISSING",
    facts: { loader: undefined, drivers: [] },
    says: "libvulkan.so.1",
    fix: "-t bookworm-backports mesa-vulkan-drivers libvulkan1",
    softwareDriverHelps: true,
  },
  "no loader, but a driver": {
    code: "LOADER_MISSING",
    facts: { loader: undefined },
    says: "libvulkan.so.1",
    fix: "libvulkan1",
    softwareDriverHelps: true,
  },
  "no driver": {
    code: "DRIVER_MISSING",
    facts: { drivers: [] },
    says: "no Vulkan driver",
    fix: "bookworm-backports",
    softwareDriverHelps: true,
  },
  "no driver on Ubuntu": {
    code: "DRIVER_MISSING",
    facts: { drivers: [], os: jammy },
    says: "no Vulkan driver",
    fix: "apt-get install --no-install-recommends mesa-vulkan-drivers",
    softwareDriverHelps: true,
  },
  "no driver on Fedora": {
    code: "DRIVER_MISSING",
    facts: { drivers: [], os: fedora, hasApt: false },
    says: "no Vulkan driver",
    fix: "dnf install mesa-vulkan-drivers",
    softwareDriverHelps: true,
  },
  "no driver, unknown system": {
    code: "DRIVER_MISSING",
    facts: { drivers: [], os: undefined, hasApt: false },
    says: "no Vulkan driver",
    fix: "Mesa 23.2 or newer",
    softwareDriverHelps: true,
  },
  "Mesa 22.3": {
    code: "DRIVER_TOO_OLD",
    facts: { drivers: [oldLavapipe] },
    says: "1.1.230",
    fix: "bookworm-backports",
    softwareDriverHelps: true,
  },
  "a driver without its GPU": {
    code: "DEVICE_NOT_FOUND",
    facts: { drivers: [nvidia] },
    says: "nvidia_icd.json",
    fix: "mesa-vulkan-drivers",
    softwareDriverHelps: true,
  },
  "a device that lacks something": {
    code: "DEVICE_REFUSED",
    facts: { drivers: [nvidia] },
    probe: refused,
    says: "no storage buffers",
    fix: "mesa-vulkan-drivers",
    softwareDriverHelps: true,
  },
  "a driver that crashes": {
    code: "DRIVER_CRASHED",
    facts: { drivers: [nvidia] },
    probe: { kind: "crashed", reason: "(ended by SIGSEGV)" },
    says: "SIGSEGV",
    fix: "mesa-vulkan-drivers",
    softwareDriverHelps: true,
  },
  "a good software driver that still gives nothing": {
    code: "DEVICE_NOT_FOUND",
    facts: {},
    says: "lvp_icd.json",
    fix: "vulkaninfo",
    softwareDriverHelps: false,
  },
  "an NVIDIA GPU without its driver": {
    code: "DRIVER_MISSING",
    facts: { drivers: [], hasNvidiaGpu: true },
    says: "no Vulkan driver",
    fix: "NVIDIA_DRIVER_CAPABILITIES=all",
    softwareDriverHelps: true,
  },
  macOS: {
    code: "DEVICE_NOT_FOUND",
    facts: { platform: "darwin", arch: "arm64" },
    probe: refused,
    says: "no storage buffers",
    fix: "not been tried on macOS",
    softwareDriverHelps: false,
  },
  Windows: {
    code: "DEVICE_NOT_FOUND",
    facts: { platform: "win32" },
    says: "Windows",
    fix: "not been tried on Windows",
    softwareDriverHelps: false,
  },
};

test.each(Object.entries(cases))("%s", (_name, { code, facts, probe = none, says, fix, softwareDriverHelps }) => {
  const diagnosis = diagnose({ ...whole, ...facts }, probe);
  expect(diagnosis).toMatchObject({ code, softwareDriverHelps });
  expect(diagnosis.message).toContain(says);
  expect(diagnosis.fix).toContain(fix);
  expect(diagnosis.fix).not.toContain("sudo");
});

test.each([
  ["2.34", true],
  ["2.4", false],
  ["2.33.9", false],
  ["2.100", true],
  ["3.0", true],
])("glibc %s is new enough: %s", (glibc, enough) => {
  expect(diagnose({ ...whole, glibc }, none).code === "GLIBC_TOO_OLD").toBe(!enough);
});
