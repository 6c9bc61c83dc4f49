// One set-up or build at a time in a clone. The holder touches the lock file while it works, so a killed
// holder's lock goes stale by itself, also where process ids mean nothing (containers sharing a folder).
import { randomUUID } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { say, SetupError } from "./report.mjs";

const TOUCH_MS = 2_000;
const STALE_MS = 30_000;
const WAIT_MS = 20 * 60_000;

/**
 * Runs `work` while holding the lock file `path`; waits for another holder first.
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(path, work) {
  mkdirSync(dirname(path), { recursive: true });
  const mine = JSON.stringify({ host: hostname(), pid: process.pid, token: randomUUID() });
  const giveUp = Date.now() + WAIT_MS;
  for (let tries = 0; !tryTake(path, mine); tries++) {
    if (tries === 1) say(`waiting for another tunesmith process that is building this clone (${path})`);
    if (Date.now() > giveUp) {
      throw new SetupError("LOCKED", `another process has held ${path} for 20 minutes`, {
        fix: `if no other set-up or build is running, delete that file and run the command again`,
      });
    }
    await sleep(100);
  }
  const release = () => {
    if (read(path) === mine) rmSync(path, { force: true });
  };
  const touching = setInterval(() => touch(path), TOUCH_MS);
  process.once("exit", release);
  try {
    return await work();
  } finally {
    clearInterval(touching);
    process.removeListener("exit", release);
    release();
  }
}

/**
 * @param {string} path
 * @param {string} mine
 */
function tryTake(path, mine) {
  try {
    writeFileSync(path, mine, { flag: "wx" });
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EEXIST") throw error;
  }
  const theirs = read(path);
  if (theirs !== undefined && isStale(path, theirs)) putAside(path, theirs);
  return false;
}

/**
 * @param {string} path
 * @param {string} theirs
 */
function isStale(path, theirs) {
  try {
    if (Date.now() - statSync(path).mtimeMs > STALE_MS) return true;
    const { host, pid } = JSON.parse(theirs);
    return host === hostname() && !isAlive(pid);
  } catch {
    return false; // half-written or just gone: look again
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === "EPERM";
  }
}

/**
 * Removes a stale lock. Another waiter may have done so and taken the lock in between: then what was moved
 * is not what was judged, and it is put back.
 * @param {string} path
 * @param {string} judged
 */
function putAside(path, judged) {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
    if (read(aside) !== judged) linkSync(aside, path);
  } catch {
    // someone else was faster
  }
  rmSync(aside, { force: true });
}

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** @param {string} path */
function touch(path) {
  try {
    const now = new Date();
    utimesSync(path, now, now);
  } catch {
    // the next take decides
  }
}
