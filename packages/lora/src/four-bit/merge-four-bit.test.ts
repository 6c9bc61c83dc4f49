import { openSafetensors, type TensorSource, writeSafetensors } from "@tunesmith/safetensors";
import { matmul, maxAbsError, memoryFiles, seededNormals } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { peftNames } from "../adapter.ts";
import type { PeftAdapter } from "../peft.ts";
import { findBitsandbytes } from "./bitsandbytes.ts";
import { mergeIntoFourBit } from "./merge-four-bit.ts";
import { type FourBitOptions, quantizeFourBit } from "./quantize.ts";
import { writeBitsandbytes } from "./write-bitsandbytes.ts";

const [INS, OUTS, R, ALPHA] = [96, 40, 3, 6];
const PATHS = ["x", "y", "z"] as const;
const sizes = new Map(PATHS.map((path) => [path, { in: INS, out: OUTS }]));
const bytesOf = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer);
const noise = (count: number, seed: number): Float32Array => Float32Array.from(seededNormals(count, seed));

/** On two of the three layers. */
const TARGETS = ["x", "z"];
const shapes = new Map(
  TARGETS.flatMap((path) => [
    [peftNames(path).a, [R, INS]],
    [peftNames(path).b, [OUTS, R]],
  ]),
);
const adapter: PeftAdapter = {
  config: { r: R, alpha: ALPHA, useRslora: false, targetModules: TARGETS },
  baseModel: undefined,
  targets: TARGETS,
  shapes,
  values: new Map([...shapes].map(([name, [rows, cols]], i) => [name, noise(rows! * cols!, 10 + i)])),
};

/** x and y in four bits, z plain, and a norm. */
async function base(options: FourBitOptions): Promise<{ files: ReturnType<typeof memoryFiles>; source: TensorSource }> {
  const files = memoryFiles();
  const weights = PATHS.map((path, i) => [`${path}.weight`, [OUTS, INS], noise(OUTS * INS, i)] as const);
  const tensors = [...weights, ["norm.weight", [5], noise(5, 9)] as const];
  await writeSafetensors(
    files,
    "plain",
    new Map(tensors.map(([name, shape, values]) => [name, { dtype: "F32", shape, data: bytesOf(values) }])),
  );
  await writeBitsandbytes(
    files,
    "base",
    await openSafetensors(files, "plain"),
    new Set(["x.weight", "y.weight"]),
    options,
  );
  return { files, source: await openSafetensors(files, "base") };
}

/** s·B·A by its definition. */
function update(path: string): Float64Array {
  const [a, b] = [peftNames(path).a, peftNames(path).b].map((name) => Float64Array.from(adapter.values.get(name)!));
  return matmul(b!, a!, { m: OUTS, n: INS, k: R }).map((value) => (value * ALPHA) / R);
}

describe.each<FourBitOptions>([
  { type: "nf4", blockSize: 64, doubleQuant: false },
  { type: "fp4", blockSize: 32, doubleQuant: true },
])("a base in $type, blocks of $blockSize, double quantization $doubleQuant", (options) => {
  test("takes the sum, quantized as it is itself, and the rest keeps its bytes; the damage is that of what was written", async () => {
    const { files, source } = await base(options);
    const { modules, total, tensors } = await mergeIntoFourBit(files, "merged", source, adapter, {
      sizes,
      where: "base",
    });
    const merged = await openSafetensors(files, "merged");
    expect([...merged.tensors.keys()].toSorted()).toEqual([...source.tensors.keys()].toSorted());
    expect(tensors).toBe(merged.tensors.size);
    for (const name of source.tensors.keys())
      if (!/^[xz]\./.test(name)) expect(await merged.read(name), name).toEqual(await source.read(name));

    const shape = [OUTS, INS] as const;
    const before = await (await findBitsandbytes(source, "x.weight", shape, "base"))!.f32();
    const sum = update("x").map((value, i) => before[i]! + Math.fround(value));
    const x = (await findBitsandbytes(merged, "x.weight", shape, "merged"))!;
    expect(x).toMatchObject({ ...options, dtype: "float32" });
    expect(await merged.read("x.weight")).toEqual(quantizeFourBit(Float32Array.from(sum), options, "x").elements);
    const z = new Float32Array((await merged.read("z.weight")).slice().buffer);
    const plain = new Float32Array((await source.read("z.weight")).slice().buffer);
    expect(
      maxAbsError(
        z,
        update("z").map((value, i) => plain[i]! + value),
      ),
    ).toBeLessThan(1e-5);

    const stored = await x.f32();
    const norm = (values: ArrayLike<number>): number => Math.hypot(...Array.from(values));
    const error = sum.map((value, i) => stored[i]! - value);
    const expected = {
      relativeError: norm(error) / norm(sum),
      errorOverUpdate: norm(error) / norm(update("x")),
      maxError: Math.max(...error.map(Math.abs)),
    };
    expect(expected.relativeError).toBeGreaterThan(0.02);
    expect([...modules.keys()]).toEqual(["x"]);
    for (const [key, value] of Object.entries(expected))
      for (const found of [total, modules.get("x")!])
        expect(found[key as keyof typeof expected] / value).toBeCloseTo(1, 4);
  });
});

test.each([
  ["plain weights", ["z"], undefined, "none of the adapter's targets"],
  ["Conv1D weights, which bitsandbytes turns", ["x", "z"], "in_out" as const, "none of the adapter's targets"],
])("%s are refused", async (_, targets, layout, message) => {
  const { files, source } = await base({ type: "nf4", blockSize: 64, doubleQuant: false });
  const turned = new Map([...sizes].map(([path, size]) => [path, layout ? { ...size, layout } : size]));
  const merging = mergeIntoFourBit(files, "merged", source, { ...adapter, targets }, { sizes: turned, where: "base" });
  await expect(merging).rejects.toMatchObject({ code: "MERGE_UNSUPPORTED", message: expect.stringContaining(message) });
  expect(files.contents.has("merged")).toBe(false);
});
