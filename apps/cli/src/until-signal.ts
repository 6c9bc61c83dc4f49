// The first SIGINT or SIGTERM, for work that has nothing to finish.

import { CliError } from "./errors.ts";

/** The work's outcome, or `INTERRUPTED` as soon as a signal arrives; the work is left behind then. */
export async function untilSignal<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: () => void = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(interrupted(signal));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    void work.catch(() => {}); // left behind by a signal, its own failure means nothing any more
  }
}

/** @throws CliError `INTERRUPTED` once a signal has arrived */
export function checkSignal(signal: AbortSignal): void {
  if (signal.aborted) throw interrupted(signal);
}

function interrupted(signal: AbortSignal): CliError {
  return new CliError("INTERRUPTED", `stopped by ${String(signal.reason)}`);
}
