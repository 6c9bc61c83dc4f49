// Answers "did anything change since last time?" without running a tool: a step is repeated only when the
// fingerprint of what it reads differs from the one it left behind.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ROOT } from "./paths.mjs";

/** Folders of all workspace packages, relative to the root. */
export function workspacePackages() {
  return ["packages", "apps"].flatMap((group) =>
    readdirSync(join(ROOT, group), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(group, entry.name))
      .filter((folder) => exists(join(ROOT, folder, "package.json"))),
  );
}

/**
 * Hash of the contents of `files` (relative to the root) and of `facts`.
 * @param {readonly string[]} files
 * @param {readonly string[]} [facts]
 */
export function contentFingerprint(files, facts = []) {
  const hash = createHash("sha256").update(facts.join("\0"));
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(ROOT, file)));
  return hash.digest("hex");
}

/**
 * Hash of names, sizes and times of `files` and of everything below `folders` that passes `keep`: for trees
 * too big to read at every start.
 * @param {{ files: readonly string[], folders: readonly string[], keep: (name: string) => boolean }} tree
 */
export function treeFingerprint({ files, folders, keep }) {
  const hash = createHash("sha256");
  /** @param {string} path */
  const add = (path) => {
    const { size, mtimeMs } = statSync(join(ROOT, path));
    hash.update(`${path}\0${size}\0${mtimeMs}\0`);
  };
  /** @param {string} folder */
  const walk = (folder) => {
    for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true }).toSorted((a, b) =>
      a.name < b.name ? -1 : 1,
    )) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) walk(path);
      else if (keep(entry.name)) add(path);
    }
  };
  for (const file of files) add(file);
  for (const folder of folders) if (exists(join(ROOT, folder))) walk(folder);
  return hash.digest("hex");
}

/** @param {string} path */
export function exists(path) {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/**
 * Does the work and leaves a stamp. An older stamp is removed before, so an interrupted step is repeated.
 * @param {string} stamp path of the stamp file
 * @param {string} fingerprint of what the work reads, taken before it starts
 * @param {() => Promise<void>} work
 */
export async function once(stamp, fingerprint, work) {
  rmSync(stamp, { force: true });
  await work();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, fingerprint);
}

/**
 * @param {string} stamp
 * @param {string} fingerprint
 */
export function isStamped(stamp, fingerprint) {
  return exists(stamp) && readFileSync(stamp, "utf8") === fingerprint;
}
