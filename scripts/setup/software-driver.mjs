// Gets Mesa's software Vulkan driver on Debian and Ubuntu: by apt when we are root, else by unpacking the same
// packages into `.cache/driver`. Never asks for more rights than it has.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import {
  apt,
  backportsSource,
  downloadFailed,
  downloadSize,
  installArguments,
  releaseWithMesa,
  sayDownload,
  updateLists,
} from "./apt.mjs";
import { DRIVER_READY } from "./driver-env.mjs";
import { DRIVER } from "./paths.mjs";
import { say, SetupError } from "./report.mjs";
import { run, tail } from "./run.mjs";

const SYSTEM_SOURCES = "/etc/apt/sources.list.d";
const BACKPORTS_FILE = "tunesmith-backports.list";
// another apt may be at work: machines run one by themselves after boot
const WAIT_FOR_LOCK = ["-o", "DPkg::Lock::Timeout=300"];

/** @param {string} codename of the running Debian or Ubuntu */
export async function installDriver(codename) {
  say("getting Mesa's software Vulkan driver by apt");
  const release = await chooseRelease(WAIT_FOR_LOCK, SYSTEM_SOURCES, codename);
  sayDownload(await downloadSize(WAIT_FOR_LOCK, installArguments(release)));
  let result = await apt("apt-get", WAIT_FOR_LOCK, installArguments(release));
  if (/dpkg --configure -a/.test(result.output)) {
    say("  finishing an installation that was interrupted (dpkg --configure -a)");
    await run("dpkg", ["--configure", "-a"]);
    result = await apt("apt-get", WAIT_FOR_LOCK, installArguments(release));
  }
  if (result.status !== 0) throw downloadFailed(result);
}

/** @param {string} codename of the running Debian or Ubuntu */
export async function unpackDriver(codename) {
  say(`getting Mesa's software Vulkan driver for this clone alone (not root: unpacked into ${DRIVER})`);
  const aptFolder = join(DRIVER, "apt");
  const options = privateApt(aptFolder);
  const release = await chooseRelease(options, join(aptFolder, "sources.list.d"), codename);
  sayDownload(await downloadSize(options, installArguments(release)));
  const result = await apt("apt-get", options, [...installArguments(release), "--download-only"]);
  if (result.status !== 0) throw downloadFailed(result);

  const whole = join(DRIVER, "root");
  const partial = join(DRIVER, "root.partial");
  rmSync(partial, { recursive: true, force: true });
  const archives = join(aptFolder, "cache", "archives");
  const packages = readdirSync(archives).filter((name) => name.endsWith(".deb"));
  for (const name of packages) {
    if (/^libc(6|-bin)_/.test(name)) continue; // a second C library in LD_LIBRARY_PATH would break every program
    const unpacked = await run("dpkg", ["-x", join(archives, name), partial]);
    if (unpacked.status !== 0) {
      throw new SetupError("DRIVER_UNPACK_FAILED", `dpkg could not unpack ${name}:\n${tail(unpacked)}`, {
        fix: `delete ${DRIVER} and run the same command again`,
        exitCode: 4,
      });
    }
  }
  rmSync(whole, { recursive: true, force: true });
  renameSync(partial, whole);
  writeFileSync(DRIVER_READY, JSON.stringify(locate(whole)));
  rmSync(aptFolder, { recursive: true, force: true });
}

/**
 * The release that has a Mesa new enough; adds Debian's backports to `sources` when nothing else does.
 * @param {readonly string[]} options
 * @param {string} sources folder of apt source lists to add to
 * @param {string} codename
 */
async function chooseRelease(options, sources, codename) {
  const updated = await updateLists(options);
  let release = await releaseWithMesa(options);
  if (release !== undefined) return release;
  const source = await backportsSource(options, codename);
  if (source !== undefined) {
    const file = join(sources, BACKPORTS_FILE);
    say(
      `  this release's Mesa is older than 23.2; adding ${codename}-backports to apt's sources: ${file}\n    ${source.trim()}`,
    );
    writeFileSync(file, source);
    await updateLists(options);
    release = await releaseWithMesa(options);
    if (release !== undefined) return release;
    rmSync(file);
  }
  if (updated.status !== 0 || /^[EW]: Failed to fetch/m.test(updated.output)) throw downloadFailed(updated);
  throw new SetupError("DRIVER_UNAVAILABLE", "none of this machine's apt sources has Mesa 23.2 or newer", {
    fix: "add the release's updates to apt's sources, upgrade the distribution, or use a container of Debian 12, Ubuntu 22.04 or newer",
    exitCode: 4,
  });
}

/**
 * Settings for an apt that writes below `folder` only. What is installed on the system is known to it, so it
 * downloads what is missing and nothing else.
 * @param {string} folder
 */
function privateApt(folder) {
  const sources = join(folder, "sources.list.d");
  rmSync(sources, { recursive: true, force: true });
  for (const path of ["state/lists/partial", "cache/archives/partial"])
    mkdirSync(join(folder, path), { recursive: true });
  mkdirSync(sources, { recursive: true });
  if (existsSync(SYSTEM_SOURCES)) cpSync(SYSTEM_SOURCES, sources, { recursive: true });
  const settings = {
    "Dir::State": join(folder, "state"),
    "Dir::State::status": "/var/lib/dpkg/status",
    "Dir::Cache": join(folder, "cache"),
    "Dir::Cache::archives": "archives",
    "Dir::Etc::sourceparts": sources,
    "Debug::NoLocking": "true",
  };
  return Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
}

/**
 * Finds the driver below an unpacked root, and writes a manifest of it that names the library where it lies now.
 * @param {string} root
 */
function locate(root) {
  const manifests = join(root, "usr", "share", "vulkan", "icd.d");
  const name = readdirSync(manifests).find((file) => file.startsWith("lvp"));
  const libraryFolders = ["usr/lib", "lib"]
    .map((folder) => join(root, folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) =>
      readdirSync(folder)
        .filter((entry) => entry.endsWith("-linux-gnu"))
        .map((entry) => join(folder, entry)),
    );
  const manifest = JSON.parse(readFileSync(join(manifests, name ?? "lvp_icd.json"), "utf8"));
  const library = basename(manifest.ICD.library_path);
  const folder = libraryFolders.find((path) => existsSync(join(path, library)));
  if (folder === undefined) throw new Error(`${library} is not in ${libraryFolders.join(", ")}`);
  manifest.ICD.library_path = join(folder, library);
  const icd = join(DRIVER, "lvp_icd.json");
  writeFileSync(icd, JSON.stringify(manifest, null, 2));
  return { icd, libraryFolders };
}
