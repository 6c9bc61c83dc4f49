import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { nodeFiles } from "./files.ts";

const files = nodeFiles();
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-files-"));
});
afterEach(() => rm(folder, { recursive: true }));
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("open and read", () => {
  test("any range inside the file, and nothing outside it", async () => {
    const path = join(folder, "f");
    await writeFile(path, "0123456789");
    const source = await files.open(path);
    expect(source).toMatchObject({ path, size: 10 });
    expect(new TextDecoder().decode(await source.read(3, 4))).toBe("3456");
    expect((await source.read(10, 0)).length).toBe(0);
    for (const [offset, length] of [
      [8, 3],
      [11, 0],
      [-1, 2],
      [0, NaN],
    ] as const) {
      await expect(source.read(offset, length)).rejects.toThrow(expect.objectContaining({ code: "FILE_UNREADABLE" }));
    }
    await source.close();
  });
  test("a file that shrinks while it is read is an error, not zeros", async () => {
    const path = join(folder, "f");
    await writeFile(path, "0123456789");
    const source = await files.open(path);
    await truncate(path, 4);
    await expect(source.read(2, 6)).rejects.toThrow(
      expect.objectContaining({ code: "FILE_UNREADABLE", message: expect.stringContaining("byte 4") as string }),
    );
    await source.close();
  });
  test("what is not a regular file is missing", async () => {
    await writeFile(join(folder, "f"), "");
    for (const path of [folder, join(folder, "no"), join(folder, "f", "below")]) {
      await expect(files.open(path)).rejects.toThrow(expect.objectContaining({ code: "FILE_MISSING" }));
    }
    await expect(files.list(join(folder, "no"))).rejects.toThrow(expect.objectContaining({ code: "FILE_MISSING" }));
  });
  test.skipIf(process.platform === "win32")("a FIFO is refused at once instead of waiting for a writer", async () => {
    execFileSync("mkfifo", [join(folder, "pipe")]);
    await expect(files.open(join(folder, "pipe"))).rejects.toThrow(expect.objectContaining({ code: "FILE_MISSING" }));
  });
  test.skipIf(process.platform === "win32")("a link to itself is unreadable", async () => {
    await symlink("loop", join(folder, "loop"));
    await expect(files.open(join(folder, "loop"))).rejects.toThrow(
      expect.objectContaining({ code: "FILE_UNREADABLE" }),
    );
  });
  test("exists, list, join", async () => {
    await mkdir(join(folder, "b"));
    await writeFile(join(folder, "a"), "");
    expect(await files.list(folder)).toEqual(["a", "b"]);
    expect([await files.exists(join(folder, "a")), await files.exists(join(folder, "c"))]).toEqual([true, false]);
    expect(files.join(folder, "b", "..", "a")).toBe(join(folder, "a"));
  });
});

describe("writeAtomic", () => {
  async function* chunks(...parts: string[]): AsyncGenerator<Uint8Array> {
    for (const part of parts) yield bytes(part);
  }
  test("writes all chunks, replaces an old file, leaves nothing else", async () => {
    const path = join(folder, "f");
    await files.writeAtomic(path, chunks("ab", "", "cd"));
    expect(await readFile(path, "utf8")).toBe("abcd");
    await files.writeAtomic(path, [bytes("new")]);
    expect(await readFile(path, "utf8")).toBe("new");
    expect(await readdir(folder)).toEqual(["f"]);
  });
  test("a writer that fails half way leaves the old file and no temporary one", async () => {
    const path = join(folder, "f");
    await writeFile(path, "old");
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield bytes("half");
      throw new Error("disk on fire");
    }
    await expect(files.writeAtomic(path, failing())).rejects.toThrow("disk on fire");
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(folder)).toEqual(["f"]);
  });
  test("missing folders are made; a file in the way is an error", async () => {
    await files.writeAtomic(join(folder, "a", "b", "f"), [bytes("x")]);
    expect(await readFile(join(folder, "a", "b", "f"), "utf8")).toBe("x");
    await expect(files.writeAtomic(join(folder, "a", "b", "f", "g"), [])).rejects.toThrow(/ENOTDIR|EEXIST|ENOENT/);
  });
  test.skipIf(process.platform === "win32")(
    "readers through a link see the target unchanged: the link is replaced",
    async () => {
      await writeFile(join(folder, "target"), "old");
      await symlink("target", join(folder, "link"));
      await files.writeAtomic(join(folder, "link"), [bytes("new")]);
      expect([await readFile(join(folder, "target"), "utf8"), await readFile(join(folder, "link"), "utf8")]).toEqual([
        "old",
        "new",
      ]);
    },
  );
});
