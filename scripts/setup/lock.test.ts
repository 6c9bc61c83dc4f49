import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { withLock } from "./lock.mjs";

const MODULE = new URL("lock.mjs", import.meta.url).href;
let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tunesmith-lock-"));
  path = join(folder, "sub", "a.lock");
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A process that appends "in" and "out" to `log` around 20 ms of work under the lock. */
function worker(log: string): Promise<number | null> {
  const script = `import { appendFileSync } from "node:fs"; import { withLock } from ${JSON.stringify(MODULE)};
    await withLock(${JSON.stringify(path)}, async () => {
      appendFileSync(${JSON.stringify(log)}, "in "); await new Promise((done) => setTimeout(done, 20)); appendFileSync(${JSON.stringify(log)}, "out ");
    });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "ignore" });
  return new Promise((resolve) => child.on("exit", resolve));
}

test("processes take turns", async () => {
  const log = join(folder, "log");
  expect(await Promise.all(Array.from({ length: 6 }, () => worker(log)))).toEqual([0, 0, 0, 0, 0, 0]);
  expect(readFileSync(log, "utf8")).toBe("in out ".repeat(6));
  expect(existsSync(path)).toBe(false);
});

test("returns what the work returns, and lets go when it throws", async () => {
  expect(await withLock(path, async () => 7)).toBe(7);
  await expect(withLock(path, () => Promise.reject(new Error("x")))).rejects.toThrow("x");
  expect(existsSync(path)).toBe(false);
});

test("the lock of a dead process is taken over", async () => {
  await withLock(path, async () => undefined); // makes the folder
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  writeFileSync(path, JSON.stringify({ host: hostname(), pid: dead, token: "" }));
  expect(await withLock(path, async () => 1)).toBe(1);
});

test("a lock from elsewhere is waited for until nobody touches it any more", async () => {
  await withLock(path, async () => undefined);
  writeFileSync(path, JSON.stringify({ host: "elsewhere", pid: 1, token: "" }));
  const mine = withLock(path, async () => Date.now());
  await sleep(300);
  const aged = Date.now();
  const old = new Date(aged - 60_000);
  utimesSync(path, old, old);
  expect(await mine).toBeGreaterThanOrEqual(aged);
});
