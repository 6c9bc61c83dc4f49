import { writeSafetensors } from "@tunesmith/safetensors";
import { memoryFiles } from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { initialLora, loraShapes } from "./adapter.ts";
import type { LinearSizes } from "./adapter.ts";
import { moduleRank } from "./config.ts";
import { readPeftConfig, writePeftConfig } from "./peft-config.ts";
import { readPeft, readPeftAlone } from "./peft.ts";
import { combineAdapters } from "./algebra/combine.ts";
import { resolveSaved } from "./saved.ts";
import { resolveTokenRows, type TokenRows } from "./token-rows.ts";

const sizes: LinearSizes = new Map([
  ["model.layers.0.self_attn.q_proj", { in: 6, out: 4 }],
  ["model.layers.0.self_attn.v_proj", { in: 6, out: 2 }],
]);
const config = { r: 2, alpha: 8, useRslora: false, targetModules: ["q_proj", "v_proj"] };
const Q = "base_model.model.model.layers.0.self_attn.q_proj";

type Tensors = Map<string, { dtype: "F32" | "I32"; shape: readonly number[]; data: Uint8Array }>;

/** A sound adapter folder in memory, after `change` had its way with the tensors. */
async function folder(change: (tensors: Tensors) => void = () => {}): Promise<ReturnType<typeof memoryFiles>> {
  const tensors: Tensors = new Map();
  for (const [name, shape] of loraShapes(config, [...sizes.keys()], sizes)) {
    const values = initialLora(name, shape, { seed: 1 });
    tensors.set(name, { dtype: "F32", shape, data: new Uint8Array(values.buffer) });
  }
  change(tensors);
  const text = new TextEncoder().encode(writePeftConfig(config, [...sizes.keys()], "base"));
  const files = memoryFiles([["a/adapter_config.json", text]]);
  await writeSafetensors(files, "a/adapter_model.safetensors", tensors);
  return files;
}

describe("readPeft", () => {
  test("reads what was written", async () => {
    const adapter = await readPeft(await folder(), "a", sizes);
    expect(adapter.config).toEqual(config);
    expect([...adapter.shapes]).toEqual([...loraShapes(config, [...sizes.keys()], sizes)]);
    expect(adapter.values.get(`${Q}.lora_A.weight`)).toEqual(initialLora(`${Q}.lora_A.weight`, [2, 6], { seed: 1 }));
  });

  test("a missing tensor is an error", async () => {
    const files = await folder((tensors) => tensors.delete(`${Q}.lora_B.weight`));
    await expect(readPeft(files, "a", sizes)).rejects.toMatchObject({ code: "ADAPTER_TENSOR_MISSING" });
  });

  test("a misspelt tensor is an error that names the nearest", async () => {
    const files = await folder((tensors) => {
      tensors.set(`${Q}.lora_b.weight`, tensors.get(`${Q}.lora_B.weight`)!);
      tensors.delete(`${Q}.lora_B.weight`);
    });
    await expect(readPeft(files, "a", sizes)).rejects.toMatchObject({
      code: "ADAPTER_TENSOR_UNEXPECTED",
      details: { fix: `did you mean ${Q}.lora_B.weight?` },
    });
  });

  test("an extra tensor is an error", async () => {
    const files = await folder((tensors) =>
      tensors.set("extra", { dtype: "F32", shape: [1], data: new Uint8Array(4) }),
    );
    await expect(readPeft(files, "a", sizes)).rejects.toMatchObject({ code: "ADAPTER_TENSOR_UNEXPECTED" });
  });

  test.each([
    ["shape", { dtype: "F32" as const, shape: [3, 4], data: new Uint8Array(48) }],
    ["dtype", { dtype: "I32" as const, shape: [2, 6], data: new Uint8Array(48) }],
  ])("a wrong %s is an error", async (_, tensor) => {
    const files = await folder((tensors) => tensors.set(`${Q}.lora_A.weight`, tensor));
    await expect(readPeft(files, "a", sizes)).rejects.toMatchObject({ code: "ADAPTER_TENSOR_MISMATCH" });
  });
});

describe("readPeftConfig", () => {
  const read = (change: Record<string, unknown>): ReturnType<typeof readPeftConfig> =>
    readPeftConfig(
      JSON.stringify({ peft_type: "LORA", r: 4, lora_alpha: 8, target_modules: ["q_proj"], ...change }),
      "adapter_config.json",
    );

  test("the five keys PEFT itself needs are enough", () => {
    expect(read({ task_type: "CAUSAL_LM" }).config).toEqual({
      r: 4,
      alpha: 8,
      useRslora: false,
      targetModules: ["q_proj"],
    });
    expect(read({ use_rslora: true, target_modules: ".*q_proj" }).config).toMatchObject({
      useRslora: true,
      targetModules: ".*q_proj",
    });
  });

  test("patterns, layers, exclusions and DoRA are read, and written as they were", () => {
    const more = {
      rank_pattern: { "layers.0.*": 2 },
      alpha_pattern: { v_proj: 3 },
      layers_to_transform: [0, 2],
      layers_pattern: "layers",
      exclude_modules: ["o_proj"],
      use_dora: true,
    };
    const { config: full } = read(more);
    expect(full).toMatchObject({
      rankPattern: { "layers.0.*": 2 },
      alphaPattern: { v_proj: 3 },
      layersToTransform: [0, 2],
      layersPattern: ["layers"],
      excludeModules: ["o_proj"],
      useDora: true,
    });
    const written = JSON.parse(writePeftConfig(full, ["model.q_proj"], null)) as object;
    expect(written).toMatchObject({ ...more, layers_pattern: ["layers"] });
    expect(read({ init_lora_weights: "gaussian" }).config).toEqual(read({}).config);
    expect(read({ layers_to_transform: 1 }).config.layersToTransform).toEqual([1]);
  });
  test.each([
    { peft_type: "IA3" },
    { bias: "some" },
    { ensure_weight_tying: true },
    { init_lora_weights: "pissa_niter_4" },
    { lora_bias: true },
  ])("%j would change numbers and is refused by name", (change) => {
    expect(() => read(change)).toThrow(expect.objectContaining({ code: "ADAPTER_UNSUPPORTED" }));
    expect(() => read(change)).toThrow(Object.keys(change)[0]);
  });

  test.each([
    { r: 0 },
    { r: 1.5 },
    { r: "4" },
    { lora_alpha: null },
    { target_modules: [] },
    { target_modules: null },
    { rank_pattern: { q: "a" } },
    { layers_to_transform: ["a"] },
    { exclude_modules: 5 },
    { trainable_token_indices: 5 },
    { trainable_token_indices: [1, "2"] },
    { trainable_token_indices: { lm_head: 3 } },
  ])("%j is invalid", (change) => {
    expect(() => read(change)).toThrow(expect.objectContaining({ code: "ADAPTER_CONFIG_INVALID" }));
  });
});

describe("modules_to_save", () => {
  const whole = new Map([
    ["model.embed_tokens", [10, 6]],
    ["lm_head", [10, 6]],
  ] as const);
  test("names as PEFT matches them; only head and embedding can be saved whole", () => {
    expect(resolveSaved({ modulesToSave: ["embed_tokens"] }, whole)).toEqual(["model.embed_tokens"]);
    expect(resolveSaved({ modulesToSave: ["lm_head", "model.embed_tokens"] }, whole)).toEqual([...whole.keys()]);
    expect(resolveSaved({}, whole)).toEqual([]);
    for (const name of ["tokens", "norm"])
      expect(() => resolveSaved({ modulesToSave: [name] }, whole)).toThrow(
        expect.objectContaining({ code: "ADAPTER_UNSUPPORTED", message: expect.stringContaining(name) }),
      );
  });
  test("a folder with them is read with a model and without, and nothing else may lie in it", async () => {
    const name = "base_model.model.lm_head.weight";
    const add = (tensors: Tensors): void => {
      const data = new Uint8Array(new Float32Array(60).fill(0.5).buffer);
      tensors.set(name, { dtype: "F32", shape: [10, 6], data });
    };
    const files = await folder(add);
    await expect(readPeft(files, "a", sizes, whole)).rejects.toMatchObject({ code: "ADAPTER_TENSOR_UNEXPECTED" });
    const text = writePeftConfig({ ...config, modulesToSave: ["lm_head"] }, [...sizes.keys()], "base");
    await files.writeAtomic("a/adapter_config.json", [new TextEncoder().encode(text)]);
    for (const adapter of [await readPeft(files, "a", sizes, whole), await readPeftAlone(files, "a")]) {
      expect(adapter.config.modulesToSave).toEqual(["lm_head"]);
      expect(adapter.values.get(name)).toEqual(new Float32Array(60).fill(0.5));
      expect(() => combineAdapters([adapter], { type: "cat", weights: [1] })).toThrow(
        expect.objectContaining({ code: "COMBINATION_INVALID" }),
      );
    }
  });
});

describe("trainable_token_indices", () => {
  const replaceable = new Map([
    ["model.embed_tokens", [10, 6]],
    ["lm_head", [10, 6]],
  ] as const);
  const resolve = (trainableTokens: object, tied = false, more: object = {}): TokenRows =>
    resolveTokenRows({ trainableTokens: trainableTokens as readonly number[], ...more }, replaceable, tied);

  test("a list means the embedding; names end at a dot; a tied head has the embedding's rows", () => {
    expect(resolve([3, 1])).toEqual(new Map([["model.embed_tokens", [3, 1]]]));
    expect(resolve({ lm_head: [2], embed_tokens: [1] })).toEqual(
      new Map([
        ["lm_head", [2]],
        ["model.embed_tokens", [1]],
      ]),
    );
    expect(resolve({ lm_head: [1], embed_tokens: [1] }, true)).toEqual(new Map([["model.embed_tokens", [1]]]));
  });
  test.each<[string, () => TokenRows, string]>([
    ["another module", () => resolve({ q_proj: [1] }), "ADAPTER_UNSUPPORTED"],
    ["the head alone of a tied base", () => resolve({ lm_head: [1] }, true), "ADAPTER_UNSUPPORTED"],
    ["other rows for a tied head", () => resolve({ lm_head: [1], embed_tokens: [2] }, true), "ADAPTER_UNSUPPORTED"],
    ["beside modules_to_save", () => resolve([1], false, { modulesToSave: ["lm_head"] }), "ADAPTER_UNSUPPORTED"],
    ["a row that is not there", () => resolve([10]), "ADAPTER_CONFIG_INVALID"],
    ["a row twice", () => resolve([1, 2, 1]), "ADAPTER_CONFIG_INVALID"],
    ["a negative row", () => resolve([-1]), "ADAPTER_CONFIG_INVALID"],
    ["half a row", () => resolve([0.5]), "ADAPTER_CONFIG_INVALID"],
    ["no rows", () => resolve({ lm_head: [] }), "ADAPTER_CONFIG_INVALID"],
  ])("%s is refused", (_, resolving, code) => {
    expect(resolving).toThrow(expect.objectContaining({ code }));
  });
  test("a folder with them is read with a model and without; they are no low-rank update", async () => {
    const name = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta";
    const files = await folder((tensors) => {
      const data = new Uint8Array(new Float32Array(12).fill(0.5).buffer);
      tensors.set(name, { dtype: "F32", shape: [2, 6], data });
    });
    const text = writePeftConfig({ ...config, trainableTokens: [7, 2] }, [...sizes.keys()], "base");
    await files.writeAtomic("a/adapter_config.json", [new TextEncoder().encode(text)]);
    for (const adapter of [await readPeft(files, "a", sizes, replaceable), await readPeftAlone(files, "a")]) {
      expect(adapter.tokenRows).toEqual(new Map([["model.embed_tokens", [7, 2]]]));
      expect(adapter.values.get(name)).toEqual(new Float32Array(12).fill(0.5));
      expect(() => combineAdapters([adapter], { type: "cat", weights: [1] })).toThrow(
        expect.objectContaining({ code: "COMBINATION_INVALID" }),
      );
    }
    const more = writePeftConfig({ ...config, trainableTokens: [7, 2, 1] }, [...sizes.keys()], "base");
    await files.writeAtomic("a/adapter_config.json", [new TextEncoder().encode(more)]);
    await expect(readPeft(files, "a", sizes, replaceable)).rejects.toMatchObject({ code: "ADAPTER_TENSOR_MISMATCH" });
  });
});

test("scale is alpha / r, or alpha / √r for rsLoRA", () => {
  const config = { r: 8, alpha: 32, targetModules: "all-linear" };
  expect(moduleRank({ ...config, useRslora: false }, Q).scale).toBe(4);
  expect(moduleRank({ ...config, useRslora: true }, Q).scale).toBeCloseTo(11.3137, 4); // as PEFT computes it
});

test("a new adapter starts with A uniform in ±1/√in and B zero", () => {
  const a = initialLora(`${Q}.lora_A.weight`, [8, 400], { seed: 3 });
  const bound = 1 / 20;
  expect(Math.max(...a)).toBeLessThanOrEqual(bound);
  expect(Math.max(...a)).toBeGreaterThan(0.95 * bound);
  expect(Math.min(...a)).toBeLessThan(-0.95 * bound);
  expect(Math.abs(a.reduce((x, y) => x + y, 0) / a.length)).toBeLessThan(0.05 * bound);
  expect(initialLora(`${Q}.lora_A.weight`, [8, 400], { seed: 3 })).toEqual(a);
  expect(initialLora(`${Q}.lora_A.weight`, [8, 400], { seed: 4 })).not.toEqual(a);
  expect(initialLora(`${Q}.lora_B.weight`, [4, 8], { seed: 3 })).toEqual(new Float32Array(32));
});

test("a gaussian start: A normal with deviation 1/r, B zero", () => {
  const a = initialLora(`${Q}.lora_A.weight`, [8, 4000], { seed: 3, start: "gaussian" });
  const mean = a.reduce((x, y) => x + y, 0) / a.length;
  const moment = (k: number): number => a.reduce((sum, x) => sum + (x - mean) ** k, 0) / a.length;
  expect(Math.abs(mean)).toBeLessThan(0.003);
  expect(Math.sqrt(moment(2))).toBeCloseTo(1 / 8, 2);
  expect(moment(4) / moment(2) ** 2).toBeCloseTo(3, 0); // a uniform's is 1.8
  const b = initialLora(`${Q}.lora_B.weight`, [4, 8], { seed: 3, start: "gaussian" });
  expect(b).toEqual(new Float32Array(32));
});
