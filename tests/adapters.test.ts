// Several adapters on one base in one process: load, switch per call, none, freeze, delete.
import { freezeAdapter } from "@tunesmith/lora";
import { loadModel, type Model } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { loadAdapter, tuneLora } from "@tunesmith/sft";
import { isTracked } from "@tunesmith/autograd";
import type { Device } from "@tunesmith/tensor";
import { afterAll, beforeAll, expect, test } from "vitest";
import { testDevice } from "./support/device.ts";
import { goldenPath, maxError, readGolden } from "./support/goldens.ts";
import { logitsOf } from "./support/logits.ts";

const NAMES = ["llama_qkvo", "llama_all_linear"] as const;

let device: Device;
let model: Model;
beforeAll(async () => {
  device = await testDevice();
  model = await loadModel(device, nodeFiles(), goldenPath("models", "llama-untied"));
});
afterAll(() => model.dispose());

/** One row of a golden of PEFT's, and its logits with the adapter or without. */
function golden(name: string): { ids: number[]; logits: Float64Array; base: Float64Array } {
  const tensors = readGolden("lora", name, "golden.safetensors");
  const [, columns, vocab] = tensors.get("logits")!.shape as [number, number, number];
  const row = (key: string): Float64Array => tensors.get(key)!.values.subarray(0, columns * vocab);
  const ids = [...tensors.get("input_ids")!.values.subarray(0, columns)];
  return { ids, logits: row("logits"), base: row("base_logits") };
}

test("two adapters and none, in any order, with the logits PEFT has for each", async () => {
  const load = (name: string): ReturnType<typeof loadAdapter> =>
    loadAdapter(model, nodeFiles(), goldenPath("lora", name, "adapter"));
  const [first, second] = [await load(NAMES[0]), await load(NAMES[1])];
  const check = async (name: string, adapter: typeof first | undefined): Promise<void> => {
    const { ids, logits, base } = golden(name);
    expect(maxError(await logitsOf(model, adapter, ids), adapter ? logits : base)).toBeLessThan(1e-4);
    expect(maxError(logits, base)).toBeGreaterThan(1e-2);
  };
  await check(NAMES[0], first);
  await check(NAMES[1], second);
  await check(NAMES[0], undefined);
  await check(NAMES[0], first);
  first.dispose(); // delete_adapter: the other one and the base stay
  await check(NAMES[1], second);
  second.dispose();
  await check(NAMES[1], undefined);
});

test("an adapter that trains beside one that does not, and its frozen self", async () => {
  const from = golden(NAMES[0]);
  const fixed = await loadAdapter(model, nodeFiles(), goldenPath("lora", NAMES[0], "adapter"));
  const config = {
    r: 4,
    alpha: 8,
    useRslora: false,
    targetModules: ["q_proj"],
    useDora: true,
    modulesToSave: ["lm_head"],
  };
  const { adapter, store } = tuneLora(model, config, { seed: 3 });
  const frozen = freezeAdapter(adapter);
  const [path] = adapter.modules.keys();
  for (const [of, expected] of [
    [adapter, true],
    [frozen, false],
    [fixed, false],
  ] as const) {
    const { a, b, magnitude } = of.at(path!)!;
    expect([a, b].map(isTracked)).toEqual([expected, expected]);
    if (magnitude) expect(isTracked(magnitude.values)).toBe(expected);
    for (const { tensor } of of.weight("lm_head")?.shards ?? []) expect(isTracked(tensor)).toBe(expected);
  }
  const b = [...store.names].find((name) => name.includes("lora_B"))!;
  store.write(b, "values", (await store.read(b, "values")).fill(0.3));
  const trained = await logitsOf(model, adapter, from.ids);
  expect(maxError(trained, from.base)).toBeGreaterThan(1e-2);
  expect(maxError(await logitsOf(model, frozen, from.ids), trained)).toBe(0);
  expect(maxError(await logitsOf(model, fixed, from.ids), from.logits)).toBeLessThan(1e-4);
  adapter.dispose();
  store.dispose();
  fixed.dispose();
});
