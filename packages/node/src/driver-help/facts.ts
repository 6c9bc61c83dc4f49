// What this machine has of the road from Node to a GPU: the C library Dawn was built for, the Vulkan loader,
// the drivers it would find. Read from files, so nothing here can crash.

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { type OsRelease, parseOsRelease } from "./os-release.ts";

/** One manifest the Vulkan loader would read. */
export interface VulkanDriver {
  readonly manifest: string;
  /** the manifest's `library_path`; "" if it cannot be read */
  readonly library: string;
  /** Vulkan version it announces, e.g. `1.4.305`; the third number grows with every Mesa release */
  readonly apiVersion: string;
}

/** Everything `diagnose` looks at. */
export interface PlatformFacts {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  readonly isRoot: boolean;
  /** undefined where there is no os-release file */
  readonly os: OsRelease | undefined;
  /** version of the running glibc, e.g. `2.36`; undefined elsewhere and with another C library */
  readonly glibc: string | undefined;
  /** path of libvulkan.so.1, if found */
  readonly loader: string | undefined;
  readonly drivers: readonly VulkanDriver[];
  /** the variable by which the user points the loader at drivers of their choice, if set */
  readonly driverChoice: "VK_DRIVER_FILES" | "VK_ICD_FILENAMES" | undefined;
  readonly hasNvidiaGpu: boolean;
  readonly hasApt: boolean;
}

/**
 * Collects the facts of this machine.
 *
 * @param options.root - folder to look in instead of `/`
 * @param options.env - environment to read instead of the process's
 */
export function platformFacts(options: { root?: string; env?: NodeJS.ProcessEnv } = {}): PlatformFacts {
  const { root = "/", env = process.env } = options;
  const osRelease = [join(root, "etc/os-release"), join(root, "usr/lib/os-release")].find((path) => existsSync(path));
  const driverChoice = (["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] as const).find((name) => env[name]);
  return {
    platform: process.platform,
    arch: process.arch,
    isRoot: process.getuid?.() === 0,
    os: osRelease === undefined ? undefined : parseOsRelease(readFileSync(osRelease, "utf8")),
    glibc: runningGlibc(),
    loader: libraryFolders(root, env)
      .map((folder) => join(folder, "libvulkan.so.1"))
      .find((path) => existsSync(path)),
    drivers: manifests(root, env, driverChoice).map(readDriver),
    driverChoice,
    hasNvidiaGpu: existsSync(join(root, "dev/nvidiactl")) || existsSync(join(root, "proc/driver/nvidia")),
    hasApt: existsSync(join(root, "usr/bin/apt-get")),
  };
}

function runningGlibc(): string | undefined {
  if (process.platform !== "linux") return undefined;
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return report.header?.glibcVersionRuntime;
}

function libraryFolders(root: string, env: NodeJS.ProcessEnv): string[] {
  const triplet = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
  const system = [
    `usr/lib/${triplet}`,
    `lib/${triplet}`,
    "usr/lib64",
    "lib64",
    "usr/lib",
    "lib",
    "usr/local/lib64",
    "usr/local/lib",
  ];
  const given = (env["LD_LIBRARY_PATH"] ?? "").split(":").filter(Boolean);
  return [...given, ...system.map((folder) => join(root, folder))];
}

/** The loader's search order: https://github.com/KhronosGroup/Vulkan-Loader/blob/main/docs/LoaderDriverInterface.md */
function manifests(root: string, env: NodeJS.ProcessEnv, choice: PlatformFacts["driverChoice"]): string[] {
  if (process.platform !== "linux") return [];
  if (choice !== undefined)
    return (env[choice] ?? "").split(":").filter((path) => existsSync(path) && statSync(path).isFile());
  const home = env["HOME"] ?? homedir();
  const folders = [
    env["XDG_CONFIG_HOME"] ?? join(home, ".config"),
    ...(env["XDG_CONFIG_DIRS"] ?? join(root, "etc/xdg")).split(":"),
    join(root, "etc"),
    env["XDG_DATA_HOME"] ?? join(home, ".local/share"),
    ...(env["XDG_DATA_DIRS"] ?? `${join(root, "usr/local/share")}:${join(root, "usr/share")}`).split(":"),
  ];
  return [...new Set(folders)].flatMap((folder) => {
    const manifestFolder = join(folder, "vulkan", "icd.d");
    if (!existsSync(manifestFolder)) return [];
    const names = readdirSync(manifestFolder).filter((name) => name.endsWith(".json"));
    return names.toSorted().map((name) => join(manifestFolder, name));
  });
}

function readDriver(manifest: string): VulkanDriver {
  try {
    const { ICD } = JSON.parse(readFileSync(manifest, "utf8")) as {
      ICD?: { library_path?: unknown; api_version?: unknown };
    };
    return { manifest, library: basename(String(ICD?.library_path ?? "")), apiVersion: String(ICD?.api_version ?? "") };
  } catch {
    return { manifest, library: "", apiVersion: "" };
  }
}
