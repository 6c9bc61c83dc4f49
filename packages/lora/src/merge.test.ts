import { openSafetensors, toF32, writeSafetensors, type TensorToWrite } from "@tunesmith/safetensors";
import { maxAbsError, memoryFiles, readGolden, seededNormals } from "@tunesmith/testing";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type LinearSizes, peftNames } from "./adapter.ts";
import { mergeAdapter } from "./merge.ts";
import { type PeftAdapter, readPeftAlone } from "./peft.ts";

const goldens = new URL("../../../fixtures/goldens/", import.meta.url);
const bytes = (path: string): Uint8Array => readFileSync(new URL(path, goldens));

/** The bytes of a merged tensor. */
async function collect({ data }: TensorToWrite): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  if (data instanceof Uint8Array) return data;
  for await (const piece of data()) pieces.push(piece.slice());
  return Uint8Array.from(pieces.flatMap((piece) => [...piece]));
}

describe("merging", () => {
  test.each<[string, string, "out_in" | "in_out"]>([
    ["llama_qkvo", "llama-untied", "out_in"],
    ["llama_qkvo_rslora", "llama-untied", "out_in"],
    ["llama_qkvo_dora", "llama-untied", "out_in"],
    ["gpt2_all_linear", "gpt2", "in_out"],
  ])("%s: PEFT's own merged weights; what has no adapter is copied", async (name, model, layout) => {
    const files = memoryFiles([
      ["base.safetensors", bytes(`models/${model}/model.safetensors`)],
      ["a/adapter_config.json", bytes(`lora/${name}/adapter/adapter_config.json`)],
      ["a/adapter_model.safetensors", bytes(`lora/${name}/adapter/adapter_model.safetensors`)],
    ]);
    const adapter = await readPeftAlone(files, "a");
    const sizes = new Map(adapter.targets.map((path) => [path, { in: 0, out: 0, layout }]));
    const base = await openSafetensors(files, "base.safetensors");
    const merged = mergeAdapter(base, adapter, { sizes });
    const expected = readGolden(bytes(`lora/${name}/merged.safetensors`));
    expect([...merged.keys()].toSorted()).toEqual([...base.tensors.keys()].toSorted());
    let compared = 0;
    for (const [tensor, written] of merged) {
      const values = toF32(await collect(written), written.dtype as "F32");
      const golden = expected.get(tensor);
      if (golden) {
        expect(maxAbsError(values, golden.values)).toBeLessThan(1e-6);
        compared++;
      }
      if (!adapter.targets.includes(tensor.replace(/\.weight$/, "")))
        expect(values).toEqual(toF32(await base.read(tensor), "F32"));
    }
    expect(compared).toBeGreaterThanOrEqual(adapter.targets.length);
  });
});

describe("one layer", () => {
  const [ins, outs, r] = [6, 4, 2];
  const sizes: LinearSizes = new Map([["x", { in: ins, out: outs }]]);
  const names = peftNames("x");
  const [a, b] = [seededNormals(r * ins, 1), seededNormals(outs * r, 2)].map((values) => Float32Array.from(values));
  const adapter: PeftAdapter = {
    config: { r, alpha: 6, useRslora: false, targetModules: ["x"] },
    baseModel: undefined,
    targets: ["x"],
    shapes: new Map([
      [names.a, [r, ins]],
      [names.b, [outs, r]],
    ]),
    values: new Map([
      [names.a, a!],
      [names.b, b!],
    ]),
  };
  const weight = Float32Array.from(seededNormals(outs * ins, 3));
  /** s·B·A of output o and input i, by its definition */
  const delta = (o: number, i: number): number => {
    let sum = 0;
    for (let k = 0; k < r; k++) sum += b![o * r + k]! * a![k * ins + i]!;
    return 3 * sum;
  };
  async function merge(
    base: Readonly<Record<string, TensorToWrite>>,
    options: Partial<Parameters<typeof mergeAdapter>[2]> = {},
  ): Promise<Map<string, TensorToWrite>> {
    const files = memoryFiles([]);
    await writeSafetensors(files, "m", new Map(Object.entries(base)));
    return mergeAdapter(await openSafetensors(files, "m"), adapter, { sizes, ...options });
  }
  const f32 = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

  test("a Conv1D weight takes the update transposed", async () => {
    const merged = await merge(
      { "x.weight": { dtype: "F32", shape: [ins, outs], data: f32(weight) } },
      { sizes: new Map([["x", { in: ins, out: outs, layout: "in_out" }]]) },
    );
    const values = toF32(await collect(merged.get("x.weight")!), "F32");
    for (let i = 0; i < ins; i++)
      for (let o = 0; o < outs; o++) expect(values[i * outs + o]).toBeCloseTo(weight[i * outs + o]! + delta(o, i), 6);
  });
  test("a bf16 base: the sum is rounded once, to nearest, ties to even", async () => {
    const stored = Uint16Array.from(new Uint32Array(weight.buffer), (bits) => bits >>> 16); // any bf16 values
    const merged = await merge({
      "x.weight": { dtype: "BF16", shape: [outs, ins], data: new Uint8Array(stored.buffer) },
    });
    const bits = new Uint16Array((await collect(merged.get("x.weight")!)).buffer);
    for (let o = 0; o < outs; o++)
      for (let i = 0; i < ins; i++) {
        const at = o * ins + i;
        const base = new Float32Array(Uint32Array.of(stored[at]! << 16).buffer)[0]!;
        const exact = new Uint32Array(Float32Array.of(base + Math.fround(delta(o, i))).buffer)[0]!;
        const even = (exact + 0x7fff + ((exact >>> 16) & 1)) >>> 16;
        expect(bits[at]).toBe(even);
      }
  });
  test("another dtype is written for all that is floating, and only for that", async () => {
    const merged = await merge(
      {
        "x.weight": { dtype: "F32", shape: [outs, ins], data: f32(weight) },
        norm: { dtype: "F32", shape: [2], data: f32(Float32Array.of(1, 0.5)) },
        ids: { dtype: "I32", shape: [1], data: Uint8Array.of(7, 0, 0, 0) },
      },
      { dtype: "F16" },
    );
    expect([...merged].map(([name, { dtype }]) => [name, dtype])).toEqual(
      expect.arrayContaining([
        ["x.weight", "F16"],
        ["norm", "F16"],
        ["ids", "I32"],
      ]),
    );
    expect([...(await collect(merged.get("norm")!))]).toEqual([0x00, 0x3c, 0x00, 0x38]); // 1 and ½ in binary16
    expect([...(await collect(merged.get("ids")!))]).toEqual([7, 0, 0, 0]);
  });
  test.each<[string, Record<string, TensorToWrite>]>([
    ["a base without the layer", { y: { dtype: "F32", shape: [1], data: new Uint8Array(4) } }],
    ["a packed base", { "x.weight": { dtype: "U8", shape: [12, 1], data: new Uint8Array(12) } }],
  ])("%s is refused", async (_, base) => {
    await expect(merge(base)).rejects.toMatchObject({ code: "MERGE_UNSUPPORTED" });
  });
});
