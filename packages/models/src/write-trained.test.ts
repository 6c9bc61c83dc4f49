import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeFiles } from "@tunesmith/node";
import { openModel, toF32 } from "@tunesmith/safetensors";
import { expect, test } from "vitest";
import { goldenPath } from "../../../tests/support/goldens.ts";
import { readModelConfig } from "./checkpoint.ts";
import { parameterShapes } from "./parameters.ts";
import { writeTrainedModel } from "./write-trained.ts";

const files = nodeFiles();
/** Everything trained to a value that bf16 has to round, in its 17th bit. */
const THIRD = Math.fround(1 / 3);
const NEAREST_BF16 = 0.333984375;

async function written(name: string, options: Parameters<typeof writeTrainedModel>[4], frozen = ""): Promise<string> {
  const folder = goldenPath("models", name);
  const out = mkdtempSync(join(tmpdir(), "tunesmith-trained-"));
  const shapes = parameterShapes(await readModelConfig(files, folder));
  const trained = {
    has: (tensor: string) => tensor !== frozen,
    read: async (tensor: string) => new Float32Array(shapes.get(tensor)!.reduce((n, d) => n * d, 1)).fill(THIRD),
  };
  await writeTrainedModel(files, folder, out, trained, options);
  return out;
}

test("one file; trained tensors in their dtype, rounded to nearest, frozen ones byte for byte", async () => {
  const out = await written("llama-bf16", {}, "model.norm.weight");
  expect(readdirSync(out)).toEqual(["model.safetensors"]);
  const [before, after] = [await openModel(files, goldenPath("models", "llama-bf16")), await openModel(files, out)];
  expect([...after.tensors.keys()].toSorted()).toEqual([...before.tensors.keys()].toSorted());
  for (const [name, { dtype, shape }] of after.tensors) {
    expect([name, dtype, shape]).toEqual([name, "BF16", before.tensors.get(name)!.shape]);
    const bytes = await after.read(name);
    if (name === "model.norm.weight") expect(Buffer.compare(bytes, await before.read(name))).toBe(0);
    else expect(new Set(toF32(bytes, dtype))).toEqual(new Set([NEAREST_BF16]));
  }
  await before.close();
  await after.close();
});

test("exact: what was trained is f32, what was not stays as it is", async () => {
  const after = await openModel(files, await written("llama-bf16", { exact: true }, "model.norm.weight"));
  for (const [name, { dtype }] of after.tensors) expect(dtype).toBe(name === "model.norm.weight" ? "BF16" : "F32");
  expect(toF32(await after.read("model.embed_tokens.weight"), "F32")[5]).toBe(THIRD);
  await after.close();
});

test("shards as Hugging Face names them: none above the limit, an index that explains every tensor", async () => {
  const shardBytes = 100_000;
  const out = await written("llama-untied", { shardBytes });
  const names = readdirSync(out);
  const shards = names.filter((name) => name.endsWith(".safetensors"));
  expect(shards.length).toBeGreaterThan(2);
  expect(shards[0]).toBe(`model-00001-of-0000${shards.length}.safetensors`);
  expect(names.filter((name) => !shards.includes(name))).toEqual(["model.safetensors.index.json"]);
  for (const shard of shards) expect(readFileSync(join(out, shard)).length).toBeLessThan(shardBytes + 4096);
  const index = JSON.parse(readFileSync(join(out, "model.safetensors.index.json"), "utf8")) as {
    metadata: { total_size: number };
    weight_map: Record<string, string>;
  };
  const opened = await openModel(files, out);
  let total = 0;
  for (const { start, end } of opened.tensors.values()) total += end - start;
  expect(index.metadata.total_size).toBe(total);
  expect(Object.keys(index.weight_map).length).toBe(opened.tensors.size);
  await opened.close();
});

test("a tied head has no second copy; buffers of old files are left out", async () => {
  for (const name of ["qwen2-tied", "gpt2"]) {
    const folder = goldenPath("models", name);
    const opened = await openModel(files, await written(name, {}));
    const expected = [...parameterShapes(await readModelConfig(files, folder)).keys()];
    expect([...opened.tensors.keys()].toSorted()).toEqual(expected.toSorted());
    expect(expected).not.toContain("lm_head.weight");
    await opened.close();
  }
});
