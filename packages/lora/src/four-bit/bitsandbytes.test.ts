import type { JsonObject } from "@tunesmith/core";
import { isTunesmithError, parseStrictJson } from "@tunesmith/core";
import { openSafetensors, writeSafetensors } from "@tunesmith/safetensors";
import type { SafetensorsFile, TensorToWrite } from "@tunesmith/safetensors";
import { memoryFiles, seededNormals } from "@tunesmith/testing";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { goldenPath } from "../../../../tests/support/goldens.ts";
import type { LoraError } from "../errors.ts";
import { bitsandbytesConfig, checkBitsandbytesConfig } from "./bitsandbytes-config.ts";
import { findBitsandbytes } from "./bitsandbytes.ts";
import { writeBitsandbytes } from "./write-bitsandbytes.ts";

const NAME = "model.layers.0.self_attn.q_proj.weight";
const SHAPE = [64, 64] as const;
const STATE = `${NAME}.quant_state.bitsandbytes__nf4`;
const golden = (name: string): Uint8Array => readFileSync(goldenPath("models", "llama-nf4-bnb", name));

function open(bytes: Uint8Array): Promise<SafetensorsFile> {
  return openSafetensors(memoryFiles([["m.safetensors", bytes]]), "m.safetensors");
}

/** Every tensor of the file that bitsandbytes wrote. */
async function goldenTensors(): Promise<Map<string, TensorToWrite>> {
  const file = await open(golden("model.safetensors"));
  const tensors = new Map<string, TensorToWrite>();
  for (const [name, { dtype, shape }] of file.tensors)
    tensors.set(name, { dtype, shape, data: (await file.read(name)).slice() });
  return tensors;
}

async function withTensors(change: (tensors: Map<string, TensorToWrite>) => void): Promise<SafetensorsFile> {
  const tensors = await goldenTensors();
  change(tensors);
  const files = memoryFiles();
  await writeSafetensors(files, "m.safetensors", tensors);
  return openSafetensors(files, "m.safetensors");
}

const text = (value: string): TensorToWrite => {
  const data = new TextEncoder().encode(value);
  return { dtype: "U8", shape: [data.length], data };
};
const state = (change: object): TensorToWrite =>
  text(
    JSON.stringify({
      quant_type: "nf4",
      blocksize: 64,
      dtype: "float32",
      shape: SHAPE,
      nested_blocksize: 256,
      nested_dtype: "float32",
      nested_offset: 0.5,
      ...change,
    }),
  );
const f32 = (...values: number[]): TensorToWrite => ({
  dtype: "F32",
  shape: [values.length],
  data: new Uint8Array(Float32Array.from(values).buffer),
});

describe("a checkpoint that is not what it says", () => {
  test.each<[string, (tensors: Map<string, TensorToWrite>) => void, string, RegExp]>([
    ["no absmax", (t) => t.delete(`${NAME}.absmax`), "QUANT_TENSOR_MISSING", /absmax of a quantized matrix is missing/],
    ["no quant_map", (t) => t.delete(`${NAME}.quant_map`), "QUANT_TENSOR_MISSING", /quant_map/],
    ["no packed weight", (t) => t.delete(NAME), "QUANT_TENSOR_MISSING", /q_proj\.weight/],
    ["no nested_absmax", (t) => t.delete(`${NAME}.nested_absmax`), "QUANT_TENSOR_MISSING", /nested_absmax/],
    ["no nested_quant_map", (t) => t.delete(`${NAME}.nested_quant_map`), "QUANT_TENSOR_MISSING", /nested_quant_map/],
    ["no quant_state", (t) => t.delete(STATE), "QUANT_TENSOR_MISSING", /its quant_state is missing/],
    [
      "short weight",
      (t) => t.set(NAME, { dtype: "U8", shape: [3, 1], data: new Uint8Array(3) }),
      "QUANT_TENSOR_MISMATCH",
      /3 bytes, expected 2048 bytes/,
    ],
    [
      "absmax of plain scales",
      (t) => t.set(`${NAME}.absmax`, f32(...Array<number>(64).fill(1))),
      "QUANT_TENSOR_MISMATCH",
      /F32 \[64\], expected U8 \[64\]/,
    ],
    [
      "wrong shape",
      (t) => t.set(STATE, state({ shape: [32, 128] })),
      "QUANT_TENSOR_MISMATCH",
      /\[32, 128\], but config.json says \[64, 64\]/,
    ],
    [
      "shape of one dimension",
      (t) => t.set(STATE, state({ shape: [4096] })),
      "QUANT_INVALID",
      /shape is none of a matrix/,
    ],
    ["odd block size", (t) => t.set(STATE, state({ blocksize: 48 })), "QUANT_INVALID", /block size is 48/],
    ["block size in words", (t) => t.set(STATE, state({ blocksize: "64" })), "QUANT_INVALID", /blocksize is no number/],
    [
      "another type inside",
      (t) => t.set(STATE, state({ quant_type: "fp4" })),
      "QUANT_INVALID",
      /quant_type is not what the name says/,
    ],
    ["other groups", (t) => t.set(STATE, state({ nested_blocksize: 128 })), "QUANT_INVALID", /grouped otherwise/],
    ["half scales", (t) => t.set(STATE, state({ nested_dtype: "float16" })), "QUANT_INVALID", /nested_dtype/],
    [
      "no offset",
      (t) => t.set(STATE, state({ nested_offset: undefined })),
      "QUANT_INVALID",
      /nested_offset is no number/,
    ],
    ["bad JSON", (t) => t.set(STATE, text('{"quant_type": "nf4",}')), "QUANT_INVALID", /not JSON/],
    ["a list", (t) => t.set(STATE, text("[]")), "QUANT_INVALID", /no JSON object/],
    [
      "no text",
      (t) => t.set(STATE, { dtype: "U8", shape: [2], data: Uint8Array.of(0xff, 0xfe) }),
      "QUANT_INVALID",
      /not JSON/,
    ],
    ["f32 as text", (t) => t.set(STATE, f32(1)), "QUANT_INVALID", /no text/],
    [
      "an unknown type",
      (t) => t.delete(STATE) && t.set(`${NAME}.quant_state.bitsandbytes__int4`, state({})),
      "QUANT_UNSUPPORTED",
      /type "int4"/,
    ],
    [
      "MLX",
      (t) => {
        for (const key of t.keys()) if (key.startsWith(NAME)) t.delete(key);
        t.set(NAME, { dtype: "U32", shape: [64, 8], data: new Uint8Array(2048) });
        t.set("model.layers.0.self_attn.q_proj.scales", f32(1));
      },
      "QUANT_UNSUPPORTED",
      /MLX or AWQ/,
    ],
    [
      "GPTQ",
      (t) => {
        for (const key of t.keys()) if (key.startsWith(NAME)) t.delete(key);
        t.set("model.layers.0.self_attn.q_proj.qweight", f32(1));
      },
      "QUANT_UNSUPPORTED",
      /GPTQ or AWQ/,
    ],
  ])("%s", async (_, change, code, message) => {
    const found = findBitsandbytes(await withTensors(change), NAME, SHAPE, "folder");
    await expect(found).rejects.toThrow(message);
    await expect(found).rejects.toMatchObject({ code, details: { fix: expect.any(String) } });
  });

  test.each<[string, (tensors: Map<string, TensorToWrite>) => void, RegExp]>([
    ["another table", (t) => t.set(`${NAME}.quant_map`, f32(...Array<number>(16).fill(0.5))), /not the table of nf4/],
    ["a NaN among the scales", (t) => t.set(`${NAME}.nested_absmax`, f32(NaN)), /NaN at element 0/],
    [
      "an infinite map",
      (t) => t.set(`${NAME}.nested_quant_map`, f32(...Array<number>(256).fill(Infinity))),
      /Infinity/,
    ],
  ])("%s, seen when it is loaded", async (_, change, message) => {
    const found = await findBitsandbytes(await withTensors(change), NAME, SHAPE, "folder");
    await expect(found!.f32()).rejects.toThrow(message);
  });

  test("bytes turned at random end in a typed error or in finite weights", async () => {
    const bytes = golden("model.safetensors");
    const header = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
    const random = seededNormals(3 * 400, 5);
    for (let i = 0; i < 400; i++) {
      const changed = Uint8Array.from(bytes);
      // half of them in the header, half in the data
      const from = i % 2 === 0 ? [8, header] : [header, bytes.length];
      const at = from[0]! + (Math.floor(Math.abs(random[3 * i]!) * 1e6) % (from[1]! - from[0]!));
      changed[at] = Math.floor(Math.abs(random[3 * i + 1]!) * 1e3) & 255;
      try {
        const matrix = await findBitsandbytes(await open(changed), NAME, SHAPE, "folder");
        const values = await matrix?.f32();
        expect(values?.every(Number.isFinite) ?? true).toBe(true);
      } catch (error) {
        expect(isTunesmithError(error), String(error)).toBe(true);
      }
    }
  });
});

describe("config.json", () => {
  const check = (json: object): void =>
    checkBitsandbytesConfig(parseStrictJson(JSON.stringify(json)) as JsonObject, "config.json");

  test("what bitsandbytes and we write is accepted", () => {
    const settings = { type: "nf4", doubleQuant: true } as const;
    const ours = bitsandbytesConfig(settings, { computeDtype: "float32", skipModules: null });
    const theirs = JSON.parse(String(golden("config.json"))) as { quantization_config: object };
    expect(ours).toEqual(theirs.quantization_config);
    check(ours);
    check(theirs.quantization_config);
  });

  test.each([
    [{ quant_method: "gptq", bits: 4, group_size: 128 }, "QUANT_UNSUPPORTED", /by GPTQ/],
    [{ quant_method: "awq", bits: 4 }, "QUANT_UNSUPPORTED", /by AWQ/],
    [{ quant_method: "somethingnew" }, "QUANT_UNSUPPORTED", /by somethingnew/],
    [{ group_size: 64, bits: 4 }, "QUANT_UNSUPPORTED", /by MLX/],
    [{ quant_method: "bitsandbytes", load_in_8bit: true }, "QUANT_UNSUPPORTED", /LLM\.int8/],
    [{ quant_method: "bitsandbytes" }, "QUANT_INVALID", /load_in_4bit is missing/],
    [{ quant_method: 4 }, "QUANT_INVALID", /quant_method is 4/],
    [{ quant_method: "bitsandbytes", load_in_4bit: 1 }, "QUANT_INVALID", /load_in_4bit is 1/],
  ])("%j is refused", (json, code, message) => {
    expect(() => check(json)).toThrow(message);
    expect(() => check(json)).toThrow(expect.objectContaining({ code }) as LoraError);
  });
});

test("what is written is what bitsandbytes wrote, tensor by tensor", async () => {
  const plain = await openSafetensors(
    memoryFiles([["p", readFileSync(goldenPath("models", "llama-untied", "model.safetensors"))]]),
    "p",
  );
  const projections = new Set([...plain.tensors.keys()].filter((name) => name.endsWith("_proj.weight")));
  const files = memoryFiles();
  const total = await writeBitsandbytes(files, "out", plain, projections, {
    type: "nf4",
    blockSize: 64,
    doubleQuant: true,
  });
  expect(total.elements).toBe(2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 112));
  const [ours, theirs] = [await openSafetensors(files, "out"), await open(golden("model.safetensors"))];
  expect([...ours.tensors.keys()].sort()).toEqual([...theirs.tensors.keys()].sort());
  for (const [name, { dtype, shape }] of theirs.tensors) {
    expect(ours.tensors.get(name), name).toMatchObject({ dtype, shape });
    expect(await ours.read(name), name).toEqual(await theirs.read(name));
  }
});
