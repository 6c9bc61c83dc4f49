// `npm run test:interop [-- --python PATH] [vitest arguments]`: adapters and models of ours opened by PEFT, transformers and
// bitsandbytes, and theirs opened here. The only checks that need Python; nothing else in the repository does.
// Without --python or TUNESMITH_PYTHON a virtual environment is made once in `.cache/interop` (pip obeys its own
// variables, so PIP_EXTRA_INDEX_URL can name PyTorch's index of CPU builds, which are smaller).
import "./setup/check-node.mjs";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { driverEnvironment } from "./setup/driver-env.mjs";
import { execInstead } from "./setup/exec.mjs";
import { CACHE, ROOT } from "./setup/paths.mjs";
import { failWith } from "./setup/report.mjs";
import { setUp } from "./setup/set-up.mjs";

const REQUIREMENTS = join(ROOT, "tests", "interop", "requirements.txt");
const VENV = join(CACHE, "interop");

const args = process.argv.slice(2);
const flag = args.indexOf("--python");
const [, named] = flag < 0 ? [] : args.splice(flag, 2);
await setUp().catch(failWith);
const python = named ?? process.env["TUNESMITH_PYTHON"] ?? ownPython();
const vitest = join(ROOT, "node_modules", "vitest", "vitest.mjs");
const environment = {
  ...process.env,
  ...driverEnvironment(),
  TUNESMITH_TEST_TIER: "interop",
  TUNESMITH_PYTHON: python,
};
execInstead(process.execPath, [vitest, "run", "--root", ROOT, ...args], environment);

/** The interpreter of the tier's own environment, which is made, or brought up to its requirements, first. */
function ownPython() {
  const windows = process.platform === "win32";
  const path = windows ? join(VENV, "Scripts", "python.exe") : join(VENV, "bin", "python");
  const installed = join(VENV, "requirements.txt");
  if (existsSync(installed) && readFileSync(installed, "utf8") === readFileSync(REQUIREMENTS, "utf8")) return path;
  const system = windows ? "python" : "python3";
  if (!existsSync(path)) must(system, ["-m", "venv", VENV]);
  must(path, ["-m", "pip", "install", "--quiet", "-r", REQUIREMENTS]);
  copyFileSync(REQUIREMENTS, installed);
  return path;
}

/**
 * @param {string} command
 * @param {readonly string[]} words
 */
function must(command, words) {
  process.stderr.write(`${command} ${words.join(" ")}\n`);
  const { status, error } = spawnSync(command, words, { stdio: "inherit" });
  if (status === 0) return;
  process.stderr.write(
    `the Python environment of the interop tests could not be made${error ? `: ${error.message}` : ""}\n` +
      "fix: install Python 3.10 or newer with venv, or name an interpreter that has tests/interop/requirements.txt: --python PATH\n",
  );
  process.exit(2);
}
