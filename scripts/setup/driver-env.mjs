// The environment in which the Vulkan loader finds the driver that the last set-up found working.
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEVICE_RECORD, DRIVER } from "./paths.mjs";

/** Written by set-up below `.cache/driver` once the driver is whole. */
export const DRIVER_READY = join(DRIVER, "ready.json");

/**
 * Variables to add for the driver unpacked into `.cache/driver`; undefined when there is none.
 * @returns {{ VK_DRIVER_FILES: string, LD_LIBRARY_PATH: string } | undefined}
 */
export function unpackedDriver() {
  if (!existsSync(DRIVER_READY)) return undefined;
  const { icd, libraryFolders } = JSON.parse(readFileSync(DRIVER_READY, "utf8"));
  const given = process.env["LD_LIBRARY_PATH"];
  return { VK_DRIVER_FILES: icd, LD_LIBRARY_PATH: [...libraryFolders, ...(given ? [given] : [])].join(":") };
}

/**
 * Variables that every process with a device needs here, beside its own. Empty on macOS and Windows, and for
 * whoever has pointed the loader at a driver of their choice.
 * @returns {Record<string, string>}
 */
export function driverEnvironment() {
  if (process.platform !== "linux") return {};
  return { ...runtimeFolder(), ...(usesUnpackedDriver() ? unpackedDriver() : {}) };
}

/** True when the device of this clone comes from `.cache/driver` and this process was not started with it. */
export function usesUnpackedDriver() {
  if (process.env["VK_DRIVER_FILES"] || process.env["VK_ICD_FILENAMES"] || !existsSync(DEVICE_RECORD)) return false;
  return JSON.parse(readFileSync(DEVICE_RECORD, "utf8")).driver === "unpacked" && existsSync(DRIVER_READY);
}

/** Mesa wants a private folder for sockets; without one it complains on every start. */
export function runtimeFolder() {
  if (process.platform !== "linux" || process.env["XDG_RUNTIME_DIR"]) return {};
  const folder = join(tmpdir(), `tunesmith-runtime-${process.getuid?.() ?? 0}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return { XDG_RUNTIME_DIR: folder };
}
