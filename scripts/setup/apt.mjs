// Finds out through apt which Mesa there is and what getting it costs. The same questions serve the system's apt
// and a private one that needs no root: `options` are apt's `-o` settings.
import { megabytes, say, SetupError } from "./report.mjs";
import { run, tail } from "./run.mjs";

export const PACKAGES = ["mesa-vulkan-drivers", "libvulkan1"];
// Tried: 22.3 is refused by Dawn, 23.2 and everything after it works.
const MESA = { major: 23, minor: 2 };
const LISTS_DOWNLOAD = "10 to 50 MB"; // Debian's main alone is 9 MB, all of Ubuntu's components 40

/**
 * @param {string} tool
 * @param {readonly string[]} options
 * @param {readonly string[]} args
 */
export async function apt(tool, options, args) {
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C.UTF-8" };
  return await run(tool, [...options, ...args], { env: environment });
}

/**
 * Reads the package lists anew. A broken third-party source makes apt complain but need not stop us.
 * @param {readonly string[]} options
 */
export async function updateLists(options) {
  say(`  reading apt's package lists (${LISTS_DOWNLOAD} to download)`);
  return await apt("apt-get", options, ["update", "-o", "Acquire::Languages=none"]);
}

/**
 * The release to install Mesa from: "" for apt's own choice, a release's name where only that one is new enough,
 * undefined where none is.
 * @param {readonly string[]} options
 */
export async function releaseWithMesa(options) {
  const policy = await apt("apt-cache", options, ["policy", "mesa-vulkan-drivers"]);
  const candidate = /^ {2}Candidate: (\S+)/m.exec(policy.stdout)?.[1];
  if (candidate !== undefined && isNewEnough(candidate)) return "";
  const madison = await apt("apt-cache", options, ["madison", "mesa-vulkan-drivers"]);
  return parseMadison(madison.stdout).find(({ version }) => isNewEnough(version))?.release;
}

/**
 * Lines of `apt-cache madison`: `package | version | address release/component arch Packages`.
 * @param {string} text
 */
export function parseMadison(text) {
  return text.split("\n").flatMap((line) => {
    const [, version, source = ""] = line.split("|").map((part) => part.trim());
    const release = source.split(" ")[1]?.split("/")[0];
    return version && release ? [{ version, release }] : [];
  });
}

/** @param {string} version of a Debian package, e.g. `25.0.7-2~bpo12+1` */
export function isNewEnough(version) {
  const [, major = 0, minor = 0] = /^(?:\d+:)?(\d+)\.(\d+)/.exec(version)?.map(Number) ?? [];
  return major > MESA.major || (major === MESA.major && minor >= MESA.minor);
}

/**
 * A source line for the backports of `codename`, from the archive this machine uses already. undefined when the
 * machine's sources do not name it.
 * @param {readonly string[]} options
 * @param {string} codename
 */
export async function backportsSource(options, codename) {
  const format = "$(REPO_URI) $(SIGNED_BY)";
  const filters = [`Codename: ${codename}`, "Origin: Debian", "Component: main"];
  const { stdout } = await apt("apt-get", options, ["indextargets", "--format", format, ...filters]);
  return formatBackports(stdout.split("\n")[0] ?? "", codename);
}

/**
 * @param {string} line `ADDRESS KEYRING`; apt leaves `$(SIGNED_BY)` as it is where the source names no keyring
 * @param {string} codename
 */
export function formatBackports(line, codename) {
  const [address, keyring = ""] = line.trim().split(" ");
  if (!address) return undefined;
  const signedBy = keyring.startsWith("/") ? keyring : "/usr/share/keyrings/debian-archive-keyring.gpg";
  return `deb [signed-by=${signedBy}] ${address} ${codename}-backports main\n`;
}

/**
 * What apt would download, in bytes and packages.
 * @param {readonly string[]} options
 * @param {readonly string[]} installArgs
 */
export async function downloadSize(options, installArgs) {
  const result = await apt("apt-get", options, [...installArgs, "--print-uris", "-qq"]);
  if (result.status !== 0) throw downloadFailed(result);
  return parseUris(result.stdout);
}

/**
 * Lines of `apt-get --print-uris`: `'address' file bytes hash`.
 * @param {string} text
 */
export function parseUris(text) {
  const sizes = text.split("\n").flatMap((line) => /^'[^']+' \S+ (\d+)/.exec(line)?.[1] ?? []);
  return { packages: sizes.length, bytes: sizes.reduce((sum, size) => sum + Number(size), 0) };
}

/**
 * @param {string} release "" for apt's own choice
 */
export function installArguments(release) {
  return ["install", "--yes", "--no-install-recommends", ...(release === "" ? [] : ["-t", release]), ...PACKAGES];
}

/** @param {{ packages: number, bytes: number }} size */
export function sayDownload({ packages, bytes }) {
  say(`  ${packages} packages, ${megabytes(bytes)} to download`);
}

/** @param {import("./run.mjs").RunResult} result */
export function downloadFailed(result) {
  return new SetupError("DRIVER_DOWNLOAD_FAILED", `apt could not get Mesa's software Vulkan driver:\n${tail(result)}`, {
    fix: "check the network and apt's sources and proxy (apt-get update must work), then run the same command again",
    exitCode: 4,
  });
}
