import { expect, test } from "vitest";
import { memoryFiles } from "./index.ts";

test("reads ranges, refuses what lies outside, lists one level", async () => {
  const files = memoryFiles([
    ["a/b/c.bin", Uint8Array.of(1, 2, 3)],
    ["a/d.bin", Uint8Array.of()],
  ]);
  const source = await files.open("a/b/c.bin");
  expect(await source.read(1, 2)).toEqual(Uint8Array.of(2, 3));
  await expect(source.read(2, 2)).rejects.toMatchObject({ code: "FILE_UNREADABLE" });
  await expect(files.open("a/b")).rejects.toMatchObject({ code: "FILE_MISSING" });
  expect(await files.list("a")).toEqual(["b", "d.bin"]);
  expect(files.log.opened).toEqual(["a/b/c.bin"]);
});

test("a write that fails half way leaves the old content", async () => {
  const files = memoryFiles([["x", Uint8Array.of(7)]]);
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Uint8Array.of(1);
    throw new Error("disk");
  }
  await expect(files.writeAtomic("x", broken())).rejects.toThrow("disk");
  expect(files.contents.get("x")).toEqual(Uint8Array.of(7));
  await files.writeAtomic("x", [Uint8Array.of(1), Uint8Array.of(2, 3)]);
  expect(files.contents.get("x")).toEqual(Uint8Array.of(1, 2, 3));
});
