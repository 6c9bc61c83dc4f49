import { readdirSync, readFileSync } from "node:fs";
import { maxAbsError, memoryFiles, readGolden } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { openModel, openSafetensors, toF32, writeSafetensors } from "./index.ts";
import type { SafetensorsErrorCode, TensorToWrite } from "./index.ts";

const INDEX = "model.safetensors.index.json";

/** The bytes of a file with these one-byte tensors. */
async function shard(...names: string[]): Promise<Uint8Array> {
  const files = memoryFiles();
  const tensors = names.map((name, i): [string, TensorToWrite] => [
    name,
    { dtype: "U8", shape: [1], data: Uint8Array.of(i) },
  ]);
  await writeSafetensors(files, "f", new Map(tensors));
  return files.contents.get("f")!;
}

const index = (weightMap: Record<string, unknown>): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ metadata: { total_size: 2 }, weight_map: weightMap }));

async function folder(
  parts: Record<string, Uint8Array | string | Promise<Uint8Array>>,
): Promise<ReturnType<typeof memoryFiles>> {
  const files = memoryFiles([["outside.safetensors", await shard("secret")]]);
  for (const [name, content] of Object.entries(parts)) {
    files.contents.set(`m/${name}`, typeof content === "string" ? new TextEncoder().encode(content) : await content);
  }
  return files;
}

describe("one file", () => {
  test("model.safetensors", async () => {
    const files = await folder({ "model.safetensors": shard("a", "b") });
    const model = await openModel(files, "m");
    expect(model.shards).toEqual(["model.safetensors"]);
    expect([...model.tensors]).toMatchObject([
      ["a", { dtype: "U8", shape: [1], file: "model.safetensors" }],
      ["b", { file: "model.safetensors" }],
    ]);
    expect(await model.read("b")).toEqual(Uint8Array.of(1));
    await model.close();
    expect(files.log.closed).toEqual(files.log.opened);
  });

  test("with an index that names just this file", async () => {
    const files = await folder({ "model.safetensors": shard("a"), [INDEX]: index({ a: "model.safetensors" }) });
    expect((await openModel(files, "m")).tensors.size).toBe(1);
  });
});

describe("shards", () => {
  const two = { "one.safetensors": shard("a", "b"), "two.safetensors": shard("c", "__proto__") };
  const map = `{"c":"two.safetensors","a":"one.safetensors","b":"one.safetensors","__proto__":"two.safetensors"}`;

  test("one map over all, read from the right file, closed together", async () => {
    const files = await folder({ ...two, [INDEX]: `{"weight_map":${map}}` });
    const model = await openModel(files, "m");
    expect(model.shards).toEqual(["two.safetensors", "one.safetensors"]);
    expect([...model.tensors.keys()].sort()).toEqual(["__proto__", "a", "b", "c"]);
    expect(model.tensors.get("c")!.file).toBe("two.safetensors");
    files.log.reads.length = 0;
    expect(await model.read("b")).toEqual(Uint8Array.of(1));
    expect(files.log.reads).toMatchObject([{ path: "m/one.safetensors", length: 1 }]);
    expect(await model.readRange("b", 0, 1)).toEqual(Uint8Array.of(1));
    await expect(model.readRange("b", 1, 1)).rejects.toMatchObject({ code: "RANGE_OUTSIDE_TENSOR" });
    await expect(model.read("d")).rejects.toMatchObject({
      code: "TENSOR_UNKNOWN",
      tensor: "d",
      details: { path: "m" },
    });
    await expect(model.readRange("d", 0, 0)).rejects.toMatchObject({ code: "TENSOR_UNKNOWN" });
    await model.close();
    expect(files.log.closed.sort()).toEqual(files.log.opened.sort());
  });

  test("total_size may be wrong, a float or missing; other keys are allowed", async () => {
    for (const rest of [
      `"metadata":{"total_size":1.5e9},`,
      `"metadata":{"total_size":-3,"x":[null,"y"]},"z":true,`,
      "",
    ]) {
      const files = await folder({ ...two, [INDEX]: `{${rest}"weight_map":${map}}` });
      expect((await openModel(files, "m")).tensors.size).toBe(4);
    }
  });

  const one = { "one.safetensors": shard("a"), "two.safetensors": shard("b") };
  const both = { a: "one.safetensors", b: "two.safetensors" };
  const cases: [string, SafetensorsErrorCode, Parameters<typeof folder>[0]][] = [
    ["an empty folder", "MODEL_MISSING", { "config.json": "{}" }],
    ["pickled weights only", "MODEL_MISSING", { "pytorch_model.bin": "" }],
    [
      "a file and an index for others",
      "MODEL_AMBIGUOUS",
      { ...one, "model.safetensors": shard("a"), [INDEX]: index(both) },
    ],
    [
      "a file that is one of several shards",
      "MODEL_AMBIGUOUS",
      {
        "model.safetensors": shard("a"),
        "two.safetensors": shard("b"),
        [INDEX]: index({ a: "model.safetensors", b: "two.safetensors" }),
      },
    ],
    ["an empty index file", "INDEX_INVALID", { [INDEX]: "" }],
    ["an index that is an array", "INDEX_INVALID", { [INDEX]: "[]" }],
    ["an index that is not UTF-8", "INDEX_INVALID", { [INDEX]: Uint8Array.of(0x7b, 0x7d, 0xff) }],
    [
      "an index with a byte-order mark",
      "INDEX_INVALID",
      { ...one, [INDEX]: `\ufeff${JSON.stringify({ weight_map: both })}` },
    ],
    ["text behind the index", "INDEX_INVALID", { ...one, [INDEX]: `${JSON.stringify({ weight_map: both })}x` }],
    ["an index nested too deep", "INDEX_INVALID", { [INDEX]: `{"metadata":${"[".repeat(100_000)}` }],
    ["no weight_map", "INDEX_INVALID", { [INDEX]: `{"metadata":{}}` }],
    ["an empty weight_map", "INDEX_INVALID", { [INDEX]: index({}) }],
    ["a weight_map that is an array", "INDEX_INVALID", { [INDEX]: `{"weight_map":["one.safetensors"]}` }],
    ["a file that is a number", "INDEX_INVALID", { [INDEX]: index({ a: 1 }) }],
    ["a file that is null", "INDEX_INVALID", { [INDEX]: index({ a: null }) }],
    [
      "a tensor twice in the index",
      "DUPLICATE_KEY",
      { ...one, [INDEX]: `{"weight_map":{"a":"one.safetensors","b":"two.safetensors","a":"two.safetensors"}}` },
    ],
    [
      "two weight_maps",
      "DUPLICATE_KEY",
      { ...one, [INDEX]: `{"weight_map":{"a":"one.safetensors"},"weight_map":{"b":"two.safetensors"}}` },
    ],
    [
      "1,025 keys beside weight_map",
      "LIMIT_EXCEEDED",
      { [INDEX]: `{${Array.from({ length: 1025 }, (_, i) => `"${i}":0`).join()}}` },
    ],
    ["a number beyond float64", "NUMBER_INVALID", { [INDEX]: `{"metadata":{"total_size":1e400}}` }],
    ["a missing shard", "FILE_NOT_IN_FOLDER", { "one.safetensors": shard("a"), [INDEX]: index(both) }],
    [
      "a shard in other case",
      "FILE_NOT_IN_FOLDER",
      { "One.safetensors": shard("a"), [INDEX]: index({ a: "one.safetensors" }) },
    ],
    [
      "a tensor that its shard lacks",
      "TENSOR_NOT_IN_SHARD",
      { ...one, [INDEX]: index({ ...both, c: "two.safetensors" }) },
    ],
    [
      "a tensor in another shard",
      "TENSOR_IN_WRONG_SHARD",
      {
        "one.safetensors": shard("a", "b"),
        "two.safetensors": shard("c"),
        [INDEX]: index({ ...both, c: "two.safetensors" }),
      },
    ],
    [
      "a tensor in two shards",
      "TENSOR_IN_WRONG_SHARD",
      { "one.safetensors": shard("a"), "two.safetensors": shard("a", "b"), [INDEX]: index(both) },
    ],
    [
      "a tensor that the index does not name",
      "TENSOR_NOT_IN_INDEX",
      { "one.safetensors": shard("a", "x"), "two.safetensors": shard("b"), [INDEX]: index(both) },
    ],
    [
      "a shard that is not safetensors",
      "HEADER_TOO_LARGE",
      { "one.safetensors": "version https://git-lfs.github.com/spec/v1", [INDEX]: index({ a: "one.safetensors" }) },
    ],
    [
      "a truncated shard",
      "DATA_BEYOND_FILE",
      { "one.safetensors": shard("a").then((bytes) => bytes.slice(0, -1)), [INDEX]: index({ a: "one.safetensors" }) },
    ],
  ];
  test.each(cases)("%s: %s", async (_, code, parts) => {
    const files = await folder(parts);
    await expect(openModel(files, "m")).rejects.toMatchObject({ name: "SafetensorsError", code });
    expect(files.log.closed.sort()).toEqual(files.log.opened.sort());
  });

  test.each([
    "../outside.safetensors",
    "..",
    ".",
    "",
    "/outside.safetensors",
    "m/one.safetensors",
    "./one.safetensors",
    "sub/one.safetensors",
    "..\\outside.safetensors",
    "C:outside.safetensors",
    "C:\\outside.safetensors",
    "one.safetensors:stream",
    "\\\\server\\share\\x",
    "one.safetensors\0",
    "one\n.safetensors",
    "file:///outside.safetensors",
  ])("the file name %j is refused, and only the index was opened", async (name) => {
    const files = await folder({ ...one, [INDEX]: index({ ...both, b: name }) });
    await expect(openModel(files, "m")).rejects.toMatchObject({ code: "PATH_NOT_PLAIN" });
    expect(files.log.opened).toEqual([`m/${INDEX}`]);
  });
});

const goldens = new URL("../../../fixtures/goldens/models/", import.meta.url);

describe("models of the goldens, written by the reference implementation", () => {
  const loaded = (name: string): ReturnType<typeof memoryFiles> =>
    memoryFiles(
      readdirSync(new URL(`${name}/`, goldens)).map((file) => [
        `m/${file}`,
        readFileSync(new URL(`${name}/${file}`, goldens)),
      ]),
    );

  test.each(["llama-untied", "llama-bf16", "qwen2-fp16", "llama-sharded"])("%s: every value", async (name) => {
    const files = loaded(name);
    const model = await openModel(files, "m");
    let count = 0;
    for (const file of model.shards) {
      for (const [tensor, expected] of readGolden(files.contents.get(`m/${file}`)!)) {
        const info = model.tensors.get(tensor)!;
        expect(info).toMatchObject({ file, dtype: expected.dtype, shape: expected.shape });
        expect(maxAbsError(toF32(await model.read(tensor), info.dtype), expected.values)).toBe(0);
        count++;
      }
    }
    expect(model.tensors.size).toBe(count);
  });

  test("writing what was read gives the same bytes", async () => {
    for (const name of ["llama-untied/model", "llama-bf16/model", "qwen2-fp16/model", "llama-untied/golden_plain"]) {
      const bytes = readFileSync(new URL(`${name}.safetensors`, goldens));
      const files = memoryFiles([["f", new Uint8Array(bytes)]]);
      const file = await openSafetensors(files, "f");
      const tensors = new Map<string, TensorToWrite>();
      for (const [tensor, { dtype, shape }] of file.tensors)
        tensors.set(tensor, { dtype, shape, data: await file.read(tensor) });
      await writeSafetensors(files, "copy", tensors, file.metadata);
      expect(Buffer.compare(files.contents.get("copy")!, bytes)).toBe(0);
    }
  });
});
