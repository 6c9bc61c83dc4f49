// Gets the pinned pnpm through npm, and with it the dependencies exactly as the lockfile has them.
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { contentFingerprint, isStamped, once, workspacePackages } from "./fingerprint.mjs";
import { CACHE, ROOT } from "./paths.mjs";
import { say, SetupError } from "./report.mjs";
import { run, tail } from "./run.mjs";

const PNPM = join(CACHE, "pnpm");
const PNPM_MAIN = join(PNPM, "node_modules", "pnpm", "bin", "pnpm.cjs");
// Measured with empty caches; what is cached already is not fetched again.
const PNPM_DOWNLOAD = "5 MB";
const DEPENDENCIES_DOWNLOAD = "155 MB";

const NETWORK_FIX =
  "check the network, and npm's own settings if you are behind a proxy or use a mirror\n" +
  "(npm config get registry; npm config get proxy), then run the same command again";

export async function install() {
  await ensurePnpm();
  const files = [
    "package.json",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    ...workspacePackages().map((folder) => join(folder, "package.json")),
  ];
  const fingerprint = contentFingerprint(files, [process.platform, process.arch, pinnedPnpm()]);
  const stamp = join(ROOT, "node_modules", ".tunesmith-installed");
  if (isStamped(stamp, fingerprint)) return;
  await once(stamp, fingerprint, async () => {
    say(
      `installing dependencies with pnpm ${pinnedPnpm()} (up to ${DEPENDENCIES_DOWNLOAD} to download, 420 MB on disk)`,
    );
    // The flags keep pnpm from asking questions: there may be no terminal to answer at.
    const flags = ["--frozen-lockfile", "--prefer-offline", "--config.confirm-modules-purge=false"];
    const result = await run(process.execPath, [PNPM_MAIN, "install", ...flags], { env: withWritableHome() });
    if (result.status !== 0) {
      throw new SetupError("INSTALL_FAILED", `pnpm install failed:\n${tail(result)}`, { fix: NETWORK_FIX });
    }
  });
}

/**
 * An environment whose PATH finds the pinned pnpm first, for tools that start it (turbo).
 * @returns {NodeJS.ProcessEnv}
 */
export function pnpmEnvironment() {
  const key = Object.keys(process.env).find((name) => name.toUpperCase() === "PATH") ?? "PATH";
  return { ...process.env, [key]: [join(PNPM, "node_modules", ".bin"), process.env[key]].join(delimiter) };
}

/** The version in package.json's `packageManager`. */
function pinnedPnpm() {
  const { packageManager } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  return packageManager.replace(/^pnpm@/, "").replace(/\+.*$/, "");
}

async function ensurePnpm() {
  const version = pinnedPnpm();
  const manifest = join(PNPM, "node_modules", "pnpm", "package.json");
  // npm keeps a failed install out of node_modules, so a manifest of the right version means a whole pnpm
  if (existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === version) return;
  say(`getting pnpm ${version} through npm (${PNPM_DOWNLOAD} to download) into ${PNPM}`);
  rmSync(PNPM, { recursive: true, force: true });
  const flags = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"];
  const result = await runNpm(["install", "--prefix", PNPM, ...flags, `pnpm@${version}`]);
  if (result.status !== 0) {
    throw new SetupError("PNPM_UNAVAILABLE", `npm could not install pnpm ${version}:\n${tail(result)}`, {
      fix: NETWORK_FIX,
    });
  }
}

/** @param {readonly string[]} args */
function runNpm(args) {
  // npm is a JavaScript file: run by Node itself it needs no shell, on Windows neither
  const main = npmMain();
  const env = withWritableHome();
  return main ? run(process.execPath, [main, ...args], { env }) : run("npm", args, { env });
}

/** npm and pnpm keep caches in the home folder; an account without one (a service's) gets one below `.cache`. */
function withWritableHome() {
  try {
    accessSync(homedir(), constants.W_OK);
    return process.env;
  } catch {
    const home = join(CACHE, "home");
    mkdirSync(home, { recursive: true });
    return { ...process.env, HOME: home, npm_config_cache: join(home, ".npm") };
  }
}

function npmMain() {
  const bin = dirname(process.execPath);
  const candidates = [
    process.env["npm_execpath"], // set by `npm run`
    join(bin, "node_modules", "npm", "bin", "npm-cli.js"), // Windows
    join(dirname(bin), "lib", "node_modules", "npm", "bin", "npm-cli.js"),
  ];
  return candidates.find((path) => path !== undefined && path.endsWith("npm-cli.js") && existsSync(path));
}
