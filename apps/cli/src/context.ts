/** What a command may know about the world. Nothing below the entry point reads `process`. */
export interface Context {
  /** relative paths on the command line start here */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** fires on the first SIGINT or SIGTERM */
  readonly signal: AbortSignal;
  /** `--device` and `--debug-gpu` */
  readonly device: { readonly name?: string; readonly debug: boolean };
  /** writes one line for a person to stderr: progress, warnings */
  say(line: string): void;
  /** Has `close` called when the command has ended, whichever way. */
  onEnd(close: () => void): void;
}

/** What a command hands back. Exactly one of the two forms is printed on stdout. */
export interface Outcome {
  /** printed by `--json` */
  readonly document: unknown;
  /** printed otherwise; no final newline */
  readonly text: string;
  /** where a command that worked has something bad to say (`check` found a broken file) */
  readonly exitCode?: 0 | 2 | 4;
}
