// Measured kernel choices of this computer, one small file per driver in the user's cache folder. A file that cannot be
// read, or is of another version, counts as empty; one that cannot be written costs a measurement next time.

import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { parseStrictJson } from "@tunesmith/core";
import type { Files, JsonValue } from "@tunesmith/core";
import type { DeviceFacts, KernelCache } from "@tunesmith/tensor";

/** Grows when names of variants or classes change their meaning. */
const VERSION = 1;
const LARGEST = 2 ** 20; // bytes

/**
 * @param files - where the folder lies
 * @param folder - created on the first save
 * @param facts - of the device whose choices these are
 */
export function fileKernelCache(
  files: Files,
  folder: string,
  facts: Pick<DeviceFacts, "vendor" | "architecture" | "description">,
): KernelCache {
  const driver = [facts.vendor, facts.architecture, facts.description].join(" | ");
  const name = createHash("sha256").update(driver).digest("hex").slice(0, 16);
  const path = files.join(folder, `matmul-${name}.json`);
  const load = async (): Promise<Record<string, string>> => {
    try {
      const source = await files.open(path);
      try {
        if (source.size > LARGEST) return {};
        const text = new TextDecoder("utf-8", { fatal: true }).decode(await source.read(0, source.size));
        return choicesOf(parseStrictJson(text), driver);
      } finally {
        await source.close();
      }
    } catch {
      return {};
    }
  };
  return {
    load,
    async save(choices) {
      const all = { ...(await load()), ...choices };
      const text = `${JSON.stringify({ version: VERSION, driver, choices: all }, undefined, 1)}\n`;
      await files.writeAtomic(path, [new TextEncoder().encode(text)]).catch(() => {});
    },
  };
}

/** The folder for what can be made again, by the conventions of each system. */
export function cacheFolder(
  files: Files,
  at: { platform: string; env: Readonly<Record<string, string | undefined>>; home: string } = {
    platform: process.platform,
    env: process.env,
    home: homedir(),
  },
): string {
  if (at.platform === "win32") return files.join(at.env["LOCALAPPDATA"] ?? at.home, "tunesmith", "cache");
  if (at.platform === "darwin") return files.join(at.home, "Library", "Caches", "tunesmith");
  return files.join(at.env["XDG_CACHE_HOME"] || files.join(at.home, ".cache"), "tunesmith");
}

function choicesOf(file: JsonValue, driver: string): Record<string, string> {
  if (!(file instanceof Map) || file.get("version") !== VERSION || file.get("driver") !== driver) return {};
  const choices = file.get("choices");
  const entries = choices instanceof Map ? [...choices] : [];
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === "string"));
}
