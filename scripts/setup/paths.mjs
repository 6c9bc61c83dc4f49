// Where things are in a clone. Everything that set-up makes and git ignores lies in `.cache`, node_modules and dist.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const CACHE = join(ROOT, ".cache");
/** The unpacked software driver of a machine where we are not root. */
export const DRIVER = join(CACHE, "driver");
/** Which driver the last set-up found working; see `driver-env.mjs`. */
export const DEVICE_RECORD = join(CACHE, "device.json");
export const CLI_ENTRY = join(ROOT, "apps", "cli", "dist", "main.js");
