import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { nodeFiles } from "./files.ts";
import { cacheFolder, fileKernelCache } from "./kernel-cache.ts";

const DRIVER = { vendor: "nvidia", architecture: "hopper", description: "NVIDIA driver 570.1" };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-kernels-"));
});
afterEach(() => rm(folder, { recursive: true }));
const cache = (driver = DRIVER) => fileKernelCache(nodeFiles(), join(folder, "deep"), driver);
const file = async (): Promise<string> => join(folder, "deep", (await readdir(join(folder, "deep")))[0]!);

test("choices are kept, added to, and seen by the same driver alone", async () => {
  expect(await cache().load()).toEqual({});
  await cache().save({ a: "tile-64", b: "tile-64" });
  await cache().save({ b: "tile-128" });
  expect(await cache().load()).toEqual({ a: "tile-64", b: "tile-128" });
  expect(await cache({ ...DRIVER, description: "NVIDIA driver 571.0" }).load()).toEqual({});
});

describe("a file that is not ours counts as empty and is replaced", () => {
  test.each([
    ["cut short", (text: string) => text.slice(0, -9)],
    ["of another version", (text: string) => text.replace('"version": 1', '"version": 0')],
    ["of another driver under the same name", (text: string) => text.replace("570.1", "571.0")],
    ["without a table", () => "null"],
    ["too large", (text: string) => text + " ".repeat(2 ** 20)],
  ])("%s", async (_, spoil) => {
    await cache().save({ a: "tile-64" });
    await writeFile(await file(), spoil(await readFile(await file(), "utf8")));
    expect(await cache().load()).toEqual({});
    await cache().save({ b: "tile-64" });
    expect(await cache().load()).toEqual({ b: "tile-64" });
  });

  test("entries that name no variant are left out", async () => {
    await cache().save({ a: "tile-64", b: "tile-64" });
    await writeFile(await file(), (await readFile(await file(), "utf8")).replace('"b": "tile-64"', '"b": 7'));
    expect(await cache().load()).toEqual({ a: "tile-64" });
  });
});

test("a folder that cannot be written costs nothing but the memory", async () => {
  const blocked = fileKernelCache(nodeFiles(), join(folder, "file", "below"), DRIVER);
  await writeFile(join(folder, "file"), "");
  await blocked.save({ a: "tile-64" });
  expect(await blocked.load()).toEqual({});
});

test("the folder follows each system's convention", () => {
  const at = (platform: string, env: Record<string, string> = {}): string =>
    cacheFolder(nodeFiles(), { platform, env, home: "home" });
  expect(at("linux")).toBe(join("home", ".cache", "tunesmith"));
  expect(at("linux", { XDG_CACHE_HOME: "xdg" })).toBe(join("xdg", "tunesmith"));
  expect(at("darwin")).toBe(join("home", "Library", "Caches", "tunesmith"));
  expect(at("win32", { LOCALAPPDATA: "local" })).toBe(join("local", "tunesmith", "cache"));
});
