// Looks for a WebGPU device from outside: whatever a driver does to the child, set-up lives to tell.
import { fileURLToPath } from "node:url";
import { run, tail } from "./run.mjs";

const CHILD = fileURLToPath(new URL("probe-child.mjs", import.meta.url));
const TIMEOUT_MS = 120_000;

/**
 * @param {Record<string, string>} environment variables beside the current ones
 * @returns {Promise<import("@tunesmith/node/driver-help").ProbeOutcome>}
 */
export async function probeDevice(environment) {
  const result = await run(process.execPath, [CHILD], {
    env: { ...process.env, ...environment },
    timeoutMs: TIMEOUT_MS,
  });
  const line = result.stdout.trimEnd().split("\n").at(-1) ?? "";
  // an answer counts even when the driver crashes the process on its way out
  if (line.startsWith("{")) return JSON.parse(line);
  return { kind: "crashed", reason: tail(result, 8) || `exit status ${result.status}` };
}
