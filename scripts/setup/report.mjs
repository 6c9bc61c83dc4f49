// Progress and failures go to stderr, so that a command's stdout stays its own (`npm run -s demo -- --json`).

/** A failure that set-up can explain. `fix` holds what to do, one command or sentence a line. */
export class SetupError extends Error {
  /**
   * @param {string} code literal to branch on, UPPER_SNAKE
   * @param {string} message what was being done and what went wrong
   * @param {{ fix: string, exitCode?: number }} options `exitCode` as in docs/cli.md: 1 by default, 4 for no device
   */
  constructor(code, message, { fix, exitCode = 1 }) {
    super(message);
    this.name = "SetupError";
    this.code = code;
    this.fix = fix;
    this.exitCode = exitCode;
  }
}

/** @param {string} line */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return `${bytes < 10e6 ? (bytes / 1e6).toFixed(1) : Math.round(bytes / 1e6)} MB`;
}

/**
 * Ends the process with the failure's text and fix; under `--json` as the one JSON document the command line promises.
 * @param {unknown} error
 * @param {{ json?: boolean }} [options]
 * @returns {never}
 */
export function failWith(error, { json = false } = {}) {
  if (!(error instanceof SetupError)) throw error;
  say(`\nerror: ${error.message}\nfix:   ${error.fix.replaceAll("\n", "\n       ")}`);
  if (json) {
    const { code, message, fix } = error;
    process.stdout.write(`${JSON.stringify({ error: { code, message, fix } })}\n`);
  }
  process.exit(error.exitCode);
}
