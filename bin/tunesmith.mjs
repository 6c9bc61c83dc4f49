#!/usr/bin/env node
// The command line of a clone: builds first if a source is newer than the build, then runs it with the driver
// that set-up found. TUNESMITH_NO_BUILD=1 skips the look at the sources.
import "../scripts/setup/check-node.mjs";
import { existsSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { build } from "../scripts/setup/build.mjs";
import { driverEnvironment } from "../scripts/setup/driver-env.mjs";
import { execInstead } from "../scripts/setup/exec.mjs";
import { CLI_ENTRY } from "../scripts/setup/paths.mjs";
import { failWith } from "../scripts/setup/report.mjs";

const args = process.argv.slice(2);
if (process.env["TUNESMITH_NO_BUILD"] !== "1") {
  await build().catch((error) => failWith(error, { json: args.includes("--json") }));
}

const environment = driverEnvironment();
if (environment["LD_LIBRARY_PATH"]) {
  // the dynamic linker reads this once, at the start of a process; should we be killed, the command must die too
  const command = [process.execPath, CLI_ENTRY, ...args];
  const withParent = ["/usr/bin/setpriv", "/bin/setpriv"].find((path) => existsSync(path));
  const [program = process.execPath, ...rest] = withParent ? [withParent, "--pdeathsig", "KILL", ...command] : command;
  execInstead(program, rest, { ...process.env, ...environment });
} else {
  Object.assign(process.env, environment);
  process.argv[1] = CLI_ENTRY;
  await import(pathToFileURL(CLI_ENTRY).href);
}
