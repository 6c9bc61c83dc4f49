// Real links and special files: what a memory file system cannot show.
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { readdir, realpath } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InputError } from "@tunesmith/core";
import type { Files } from "@tunesmith/core";
import { memoryFiles } from "@tunesmith/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openInside, openModel, writeSafetensors } from "./index.ts";

let root = "";
let opened: string[] = [];

/** Just enough of a file system; it notes the real path of everything that is opened. */
const files: Files = {
  ...memoryFiles(),
  join,
  list: async (path) => (await readdir(path)).sort(),
  realPath: (path) =>
    realpath(path).catch((cause: unknown) => {
      throw new InputError("FILE_MISSING", `${path}: no such file`, { path, cause });
    }),
  open: async (path) => {
    if (!statSync(path, { throwIfNoEntry: false })?.isFile())
      throw new InputError("FILE_MISSING", `${path}: no regular file`, { path });
    opened.push(realpathSync(path));
    const bytes = readFileSync(path);
    return {
      path,
      size: bytes.length,
      read: async (at, length) => bytes.subarray(at, at + length),
      close: async () => {},
    };
  },
};

// links need rights on Windows, FIFOs do not exist there: not a skip, these cases cannot occur
const describeLinks = process.platform === "win32" ? null : describe;

describeLinks?.("openInside", () => {
  beforeAll(async () => {
    root = realpathSync(mkdtempSync(join(tmpdir(), "tunesmith-inside-")));
    const memory = memoryFiles();
    await writeSafetensors(memory, "f", new Map([["a", { dtype: "U8", shape: [1], data: Uint8Array.of(1) }]]));
    const shard = memory.contents.get("f")!;
    for (const path of [
      "model/folder.safetensors",
      "repo/snapshots/abc",
      "repo/blobs",
      "repo/other",
      "repo/copies/abc",
      "elsewhere/blobs",
    ]) {
      mkdirSync(join(root, path), { recursive: true });
    }
    for (const path of [
      "outside.safetensors",
      "model/real.safetensors",
      "repo/blobs/1234",
      "repo/other/1234",
      "elsewhere/blobs/1234",
    ]) {
      writeFileSync(join(root, path), shard);
    }
    const links = {
      "model/inside.safetensors": "real.safetensors",
      "model/out.safetensors": "../outside.safetensors",
      "model/absolute.safetensors": join(root, "outside.safetensors"),
      "model/dangling.safetensors": "nothing",
      "model/twice.safetensors": "out.safetensors",
      "repo/snapshots/abc/model.safetensors": "../../blobs/1234",
      "repo/snapshots/abc/other.safetensors": "../../other/1234",
      "repo/snapshots/abc/elsewhere.safetensors": "../../../elsewhere/blobs/1234",
      "repo/copies/abc/model.safetensors": "../../blobs/1234",
      "linked-model": "model",
      "linked-snapshot": "repo/snapshots/abc",
    };
    for (const [from, to] of Object.entries(links)) symlinkSync(to, join(root, from));
    execFileSync("mkfifo", [join(root, "model/fifo.safetensors")]);
  });
  afterAll(() => rmSync(root, { recursive: true }));

  const open = async (folder: string, name: string): Promise<string[]> => {
    opened = [];
    await (await openInside(files, join(root, folder), name)).close();
    return opened;
  };

  test("a plain file, a link to a neighbour, a folder that is itself a link", async () => {
    expect(await open("model", "real.safetensors")).toEqual([join(root, "model/real.safetensors")]);
    expect(await open("model", "inside.safetensors")).toEqual([join(root, "model/real.safetensors")]);
    expect(await open("linked-model", "real.safetensors")).toEqual([join(root, "model/real.safetensors")]);
  });

  test("a Hub cache's link from its snapshot into its own blobs", async () => {
    expect(await open("repo/snapshots/abc", "model.safetensors")).toEqual([join(root, "repo/blobs/1234")]);
    opened = [];
    const model = await openModel(files, join(root, "linked-snapshot"));
    expect([...model.tensors.keys()]).toEqual(["a"]);
    expect(opened).toEqual([join(root, "repo/blobs/1234")]);
  });

  test.each([
    ["model", "out.safetensors"],
    ["model", "absolute.safetensors"],
    ["model", "twice.safetensors"],
    ["linked-model", "out.safetensors"],
    ["repo/copies/abc", "model.safetensors"],
    ["repo/snapshots/abc", "other.safetensors"],
    ["repo/snapshots/abc", "elsewhere.safetensors"],
  ])("%s/%s leads outside: nothing is opened", async (folder, name) => {
    await expect(open(folder, name)).rejects.toMatchObject({ name: "SafetensorsError", code: "PATH_OUTSIDE" });
    expect(opened).toEqual([]);
  });

  test.each(["folder.safetensors", "fifo.safetensors"])(
    "%s is no regular file: refused without waiting for it",
    async (name) => {
      await expect(open("model", name)).rejects.toMatchObject({ code: "FILE_MISSING" });
    },
  );

  test("a dangling link", async () => {
    await expect(open("model", "dangling.safetensors")).rejects.toMatchObject({ code: "FILE_MISSING" });
    expect(opened).toEqual([]);
  });

  test("an index in a folder of links opens nothing outside", async () => {
    const index = join(root, "model/model.safetensors.index.json");
    for (const name of [
      "out.safetensors",
      "twice.safetensors",
      "../outside.safetensors",
      join(root, "outside.safetensors"),
    ]) {
      writeFileSync(index, JSON.stringify({ weight_map: { a: name } }));
      opened = [];
      await expect(openModel(files, join(root, "model"))).rejects.toMatchObject({ name: "SafetensorsError" });
      expect(opened).toEqual([index]);
    }
    rmSync(index);
  });
});

test("Windows paths: a parent is compared part by part", async () => {
  const real: Record<string, string> = {
    "C:\\m": "C:\\m",
    "C:\\m/a": "C:\\m\\a",
    "C:\\m/b": "C:\\other\\b",
    "C:\\m/c": "D:\\m\\c",
  };
  const windows: Files = {
    ...memoryFiles(Object.keys(real).map((path) => [path, new Uint8Array(0)])),
    realPath: async (path) => real[path]!,
  };
  await (await openInside(windows, "C:\\m", "a")).close();
  await expect(openInside(windows, "C:\\m", "b")).rejects.toMatchObject({ code: "PATH_OUTSIDE" });
  await expect(openInside(windows, "C:\\m", "c")).rejects.toMatchObject({ code: "PATH_OUTSIDE" });
});
