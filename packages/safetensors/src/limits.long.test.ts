// A million tensors: no hang, and what is kept stays in proportion to the file.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { memoryFiles } from "@tunesmith/testing";
import { expect, test } from "vitest";
import { openModel, openSafetensors } from "./index.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const MILLION = 1_000_000;
const SECONDS = 60; // takes 1 to 2 on an idle machine

/** Bytes kept by a value, everything else collected. */
async function kept<T>(make: () => Promise<T>): Promise<{ value: T; bytes: number }> {
  collect();
  const before = process.memoryUsage();
  const value = await make();
  collect();
  const after = process.memoryUsage();
  return { value, bytes: after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers };
}

function header(count: number): Uint8Array {
  const entry = (_: unknown, i: number): string =>
    `"${i.toString(36)}":{"dtype":"U8","shape":[],"data_offsets":[${i},${i + 1}]}`;
  const text = Buffer.from(`{${Array.from({ length: count }, entry).join()}}`);
  const file = new Uint8Array(8 + text.length + count);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  return file;
}

test("a header of a million tensors is read, and kept in less than twice the file's size", async () => {
  const file = header(MILLION);
  const files = memoryFiles([["f", file]]);
  const start = performance.now();
  const { value, bytes } = await kept(() => openSafetensors(files, "f"));
  expect(performance.now() - start).toBeLessThan(SECONDS * 1000);
  expect(value.tensors.size).toBe(MILLION);
  expect(value.tensors.get("lflr")).toMatchObject({
    dtype: "U8",
    end: file.length - MILLION + parseInt("lflr", 36) + 1,
  });
  console.log(
    `a million tensors: file ${(file.length / 2 ** 20).toFixed(0)} MiB, kept ${(bytes / 2 ** 20).toFixed(0)} MiB`,
  );
  expect(bytes).toBeLessThan(2 * file.length);
});

test("2^20 tensors are the limit", async () => {
  const files = memoryFiles([["f", header(2 ** 20 + 1)]]);
  await expect(openSafetensors(files, "f")).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
});

test("an index of a million tensors is read, and its first missing shard named", async () => {
  const entry = (_: unknown, i: number): string => `"model.layers.${i}.weight":"${i % 100}.safetensors"`;
  const text = `{"weight_map":{${Array.from({ length: MILLION }, entry).join()}}}`;
  const files = memoryFiles([["m/model.safetensors.index.json", new TextEncoder().encode(text)]]);
  const start = performance.now();
  await expect(openModel(files, "m")).rejects.toMatchObject({
    code: "FILE_NOT_IN_FOLDER",
    details: { expected: "0.safetensors" },
  });
  expect(performance.now() - start).toBeLessThan(SECONDS * 1000);
});

test("an index of more than 2^20 tensors is refused", async () => {
  const entry = (_: unknown, i: number): string => `"${i}":"a"`;
  const text = `{"weight_map":{${Array.from({ length: 2 ** 20 + 1 }, entry).join()}}}`;
  const files = memoryFiles([["m/model.safetensors.index.json", new TextEncoder().encode(text)]]);
  await expect(openModel(files, "m")).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
});

test("a header of 100 MB of tiny metadata keys, of white space, of one name", async () => {
  const open = async (text: string): Promise<unknown> => {
    const bytes = new Uint8Array(8 + text.length);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
    bytes.set(Buffer.from(text, "latin1"), 8);
    const start = performance.now();
    const outcome = await openSafetensors(memoryFiles([["f", bytes]]), "f").catch((error: unknown) => error);
    expect(performance.now() - start).toBeLessThan(SECONDS * 1000);
    return outcome;
  };
  const keys = Array.from({ length: 8_000_000 }, (_, i) => `"${i.toString(36)}":""`).join();
  expect(await open(`{"__metadata__":{${keys}}}`)).toMatchObject({ code: "LIMIT_EXCEEDED" });
  expect(await open(`{${" ".repeat(99_999_998)}}`)).toMatchObject({ tensors: new Map() });
  expect(await open(`{"${"x".repeat(99_999_990)}":1}`)).toMatchObject({ code: "ENTRY_INVALID" });
  expect(await open(`{"x":{"y":${"9".repeat(99_999_900)}}}`)).toMatchObject({ code: "NUMBER_INVALID" });
  expect(await open(`{"x":{"shape":[${"9".repeat(99_999_900)}]}}`)).toMatchObject({ code: "NUMBER_INVALID" });
});
