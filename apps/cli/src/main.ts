#!/usr/bin/env node
// The program: connects an invocation to the process, its streams and its signals.

import { readFileSync } from "node:fs";
import { cli } from "./cli.ts";
import { exitCodeOf } from "./exit-codes.ts";
import { errorText, typedError } from "./failure.ts";

const controller = new AbortController();
const SIGNALS = { SIGINT: 130, SIGTERM: 143 } as const;

for (const [name, exitCode] of Object.entries(SIGNALS)) {
  process.on(name, () => {
    if (controller.signal.aborted) process.exit(exitCode); // asked twice: leave at once
    controller.abort(name);
  });
}

// A reader that went away (`tunesmith ... | head`) is no failure, and must not end a training run.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

// What fails outside of every await ends the process as an awaited failure would.
process.on("uncaughtException", (error) => {
  process.stderr.write(errorText(typedError(error)));
  process.exit(exitCodeOf(error));
});

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const exitCode = await cli(process.argv.slice(2), {
  cwd: process.cwd(),
  env: process.env,
  version,
  signal: controller.signal,
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
});
// Pipes are asynchronous on some systems: what was printed must leave before the process does.
process.stdout.write("", () => process.stderr.write("", () => process.exit(exitCode)));
