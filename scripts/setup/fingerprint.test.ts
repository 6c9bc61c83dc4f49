import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { contentFingerprint, isStamped, once, treeFingerprint } from "./fingerprint.mjs";
import { CACHE, ROOT } from "./paths.mjs";

let folder = "";
beforeEach(() => {
  mkdirSync(CACHE, { recursive: true });
  folder = mkdtempSync(join(CACHE, "test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));
const name = (path: string): string => relative(ROOT, join(folder, path));
const put = (path: string, text: string): void => writeFileSync(join(folder, path), text);

test("contentFingerprint changes with contents, facts and the border between files, not with times", () => {
  put("a", "one");
  put("b", "two");
  const first = contentFingerprint([name("a"), name("b")], ["linux"]);
  utimesSync(join(folder, "a"), new Date(0), new Date(0));
  expect(contentFingerprint([name("a"), name("b")], ["linux"])).toBe(first);
  expect(contentFingerprint([name("a"), name("b")], ["win32"])).not.toBe(first);
  put("b", "three");
  expect(contentFingerprint([name("a"), name("b")], ["linux"])).not.toBe(first);
});

test("treeFingerprint sees an edit, a new file and a lost one, and not what it does not keep", () => {
  const tree = { files: [], folders: [name("")], keep: (file: string) => file.endsWith(".ts") };
  put("a.ts", "one");
  const first = treeFingerprint(tree);
  put("a.md", "text");
  expect(treeFingerprint(tree)).toBe(first);
  put("b.ts", "");
  const second = treeFingerprint(tree);
  expect(second).not.toBe(first);
  rmSync(join(folder, "b.ts"));
  expect(treeFingerprint(tree)).toBe(first);
  utimesSync(join(folder, "a.ts"), new Date(5000), new Date(5000));
  expect(treeFingerprint(tree)).not.toBe(first);
});

test("once leaves its stamp only when the work is done", async () => {
  const stamp = join(folder, "deep", "stamp");
  await once(stamp, "v1", async () => undefined);
  expect(isStamped(stamp, "v1")).toBe(true);
  expect(isStamped(stamp, "v2")).toBe(false);
  await expect(once(stamp, "v2", () => Promise.reject(new Error("interrupted")))).rejects.toThrow("interrupted");
  expect(existsSync(stamp)).toBe(false);
});
