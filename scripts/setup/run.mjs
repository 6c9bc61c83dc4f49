// Runs a program, keeps its output, and shows it only when it fails.
import { spawn } from "node:child_process";
import { ROOT } from "./paths.mjs";

/** @type {Set<import("node:child_process").ChildProcess>} */
const running = new Set();

/**
 * Does the work; when this process is told to stop meanwhile, what it has started stops too, or a second set-up
 * would meet it.
 * @param {() => Promise<void>} work
 */
export async function stoppingChildren(work) {
  const handlers = /** @type {const} */ ([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ]).map(([signal, code]) => {
    const handler = () => {
      for (const child of running) child.kill("SIGTERM");
      process.exit(code);
    };
    process.on(signal, handler);
    return () => process.removeListener(signal, handler);
  });
  try {
    await work();
  } finally {
    for (const remove of handlers) remove();
  }
}

/**
 * @typedef {object} RunResult
 * @property {number | null} status exit code; null when a signal ended it or it could not start
 * @property {NodeJS.Signals | null} signal
 * @property {string} stdout
 * @property {string} output stdout and stderr in the order they came
 * @property {NodeJS.ErrnoException | undefined} failedToStart
 */

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, timeoutMs?: number }} [options]
 * @returns {Promise<RunResult>}
 */
export function run(command, args, { cwd = ROOT, env = process.env, timeoutMs } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: ["ignore", "pipe", "pipe"],
      windowsHide: true,
      timeout: timeoutMs,
      killSignal: "SIGKILL",
    });
    running.add(child);
    let stdout = "";
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
    /** @type {NodeJS.ErrnoException | undefined} */
    let failedToStart;
    child.on("error", (error) => {
      failedToStart = error;
    });
    child.on("close", (status, signal) => {
      running.delete(child);
      resolve({ status: failedToStart ? null : status, signal, stdout, output, failedToStart });
    });
  });
}

/**
 * The last lines of a program's output, for an error message.
 * @param {RunResult} result
 */
export function tail({ output, failedToStart, signal }, lines = 25) {
  const text = output.trimEnd().split("\n").slice(-lines).join("\n");
  if (failedToStart) return failedToStart.message;
  return signal ? `${text}\n(ended by ${signal})` : text;
}
