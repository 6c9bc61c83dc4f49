#!/usr/bin/env node
// The program: connects an invocation to the process, its streams and its signals.

import { readFileSync } from "node:fs";
import { cli } from "./cli.ts";

const controller = new AbortController();

for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.on(name, () => {
    if (controller.signal.aborted) process.exit(name === "SIGINT" ? 130 : 143);
    controller.abort(name);
  });
}

// A reader that went away (`tunesmith ... | head`) is no failure, and must not end a training run.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

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
