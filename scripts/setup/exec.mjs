// Hands the terminal over to another program and ends as it ends.
import { spawn } from "node:child_process";

/**
 * Runs `command` with this process's stdio and never returns: the exit status, or the signal, is passed on.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 */
export function execInstead(command, args, env) {
  const child = spawn(command, args, { env, stdio: "inherit" });
  // Ctrl-C at a terminal reaches the child by itself; a signal sent to this process alone does not
  const atTerminal = process.stdin.isTTY || process.stderr.isTTY;
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
    process.on(signal, () => {
      if (signal !== "SIGINT" || !atTerminal) child.kill(signal);
    });
  }
  child.on("error", (error) => {
    throw error;
  });
  child.on("exit", (status, signal) => {
    if (signal === null) process.exit(status ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
