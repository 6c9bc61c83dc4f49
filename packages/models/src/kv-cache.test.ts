// The programs of generation against the same functions run eagerly, and against themselves.
import { createHash } from "node:crypto";
import { nodeFiles } from "@tunesmith/node";
import { scope, state, upload } from "@tunesmith/tensor";
import type { Device, DType, Inputs, Tensor, TensorData } from "@tunesmith/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../../../tests/support/device.ts";
import { goldenPath } from "../../../tests/support/goldens.ts";
import type { Adapter, Model } from "./decoder.ts";
import { KeyValueCache } from "./kv-cache.ts";
import { loadModel } from "./load.ts";

const ROWS = 2;
const CAPACITY = 64;
const PROMPTS = [Int32Array.of(5, 17, 3, 250, 9), Int32Array.of(44, 8)];
const STEPS = 3;

const bits = (values: TensorData): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** The token of highest logit of each row, and where it goes. */
function nextTokens(logits: Float32Array, step: number): { id: number; position: number }[] {
  const vocab = logits.length / ROWS;
  return PROMPTS.map((prompt, row) => {
    const own = logits.subarray(row * vocab, (row + 1) * vocab);
    return { id: own.indexOf(Math.max(...own)), position: prompt.length + step };
  });
}

// an adapter on every layer; soft caps, windows and a tied head
describe.each(["llama-untied", "gemma2"])("%s", (name) => {
  let device: Device;
  let model: Model;
  let adapter: Adapter;
  beforeAll(async () => {
    device = await testDevice();
    model = await loadModel(device, nodeFiles(), goldenPath("models", name));
    const made = new Map<string, NonNullable<ReturnType<Adapter["at"]>>>();
    const factor = (shape: readonly [number, number], seed: number): Tensor =>
      state(device, {
        shape,
        dtype: "f32",
        category: "adapter",
        label: "factor",
        data: Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => 0.1 * Math.sin(seed + i)),
      });
    for (const [key, weight] of model.parameters)
      if ("shards" in weight && key.endsWith("_proj.weight")) {
        const [outs, ins] = weight.shape;
        made.set(key, { a: factor([4, ins], 1), b: factor([outs, 4], 2), scale: 0.5 });
      }
    adapter = { at: (path) => made.get(`${path}.weight`) };
  });
  afterAll(() => model.dispose());

  test("prefill and steps are the bits of eager mode", async () => {
    const [recorded, eager] = [0, 1].map(() => new KeyValueCache(model, adapter, ROWS, CAPACITY)) as [
      KeyValueCache,
      KeyValueCache,
    ];
    const eagerly = (values: Record<string, TensorData>, run: (inputs: Inputs) => Tensor): Promise<TensorData> =>
      scope(device, () => {
        const input = <D extends DType>(key: string, shape: readonly number[], dtype: D): Tensor<D> =>
          upload(device, shape, dtype, values[key] as TensorData<D>);
        return run({ input } as Inputs).read();
      });
    const { tokens, values } = eager.prefillValues(PROMPTS);
    let found = whole(await recorded.prefill(PROMPTS));
    expect(bits(found)).toEqual(bits(await eagerly(values, (inputs) => eager.prefillLogits(inputs, tokens))));
    for (let step = 0; step < STEPS; step++) {
      // at last a row that is done
      const next = nextTokens(found, step).map((token, row) => (step === STEPS - 1 && row === 0 ? undefined : token));
      const expected = await eagerly(eager.stepValues(next), (inputs) => eager.stepLogits(inputs));
      found = whole(await recorded.step(next));
      expect(bits(found), `step ${step}`).toEqual(bits(expected));
    }
    expect(found.some((v) => v !== 0 && Number.isFinite(v))).toBe(true);
    expect(adapter.at("model.layers.0.self_attn.q_proj")).toBeDefined();
    recorded.dispose();
    eager.dispose();
  });

  test("twenty repeats give the same bytes", async () => {
    const cache = new KeyValueCache(model, adapter, ROWS, CAPACITY);
    const hashes = new Set<string>();
    for (let repeat = 0; repeat < 20; repeat++) {
      const digest = createHash("sha256");
      let logits = whole(await cache.prefill(PROMPTS));
      for (let step = 0; step < STEPS; step++) {
        digest.update(bits(logits));
        logits = whole(await cache.step(nextTokens(logits, step)));
      }
      hashes.add(digest.update(bits(logits)).digest("hex"));
    }
    expect(hashes.size).toBe(1);
    cache.dispose();
  });
});

/** The rows of a cache's logits as one array again. */
function whole(rows: readonly Float32Array[]): Float32Array {
  return Float32Array.from(rows.flatMap((row) => [...row]));
}
