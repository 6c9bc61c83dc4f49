// One process per framework and round: nothing of one measurement, neither memory nor caches, is left to the next.
import { spawnSync } from "node:child_process";
import { driverEnvironment } from "../../scripts/setup/driver-env.mjs";

const LIMIT_MS = 30 * 60_000;

/**
 * Runs a program and gives the JSON lines it prints; throws with the end of its output where there are none.
 * @param {string} command
 * @param {readonly string[]} args
 * @returns {any[]}
 */
export function jsonLines(command, args) {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    timeout: LIMIT_MS,
    maxBuffer: 1 << 28,
    env: { ...process.env, ...driverEnvironment() },
  });
  const lines = (stdout ?? "").split("\n").filter((line) => line.startsWith("{"));
  if (status !== 0 || lines.length === 0)
    throw new Error(
      `${command} ${args[0]} ended with ${error ?? signal ?? status}:\n${(stdout ?? "").slice(-2000)}${(stderr ?? "").slice(-2000)}`,
    );
  return lines.map((line) => JSON.parse(line));
}
