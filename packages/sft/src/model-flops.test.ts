import { loadModel } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { expect, test } from "vitest";
import { testDevice } from "../../../tests/support/device.ts";
import { goldenPath } from "../../../tests/support/goldens.ts";
import { modelFlops } from "./model-flops.ts";
import { storeForModel } from "./tune-weights.ts";
import { tuneLora } from "./tuning.ts";

// hidden 64, feed-forward 112, 2 layers, 4 heads of 16 on 2 key heads, 300 ids, a head of its own
const FOLDER = goldenPath("models", "llama-untied");
const LINEAR = 2 * (64 * 64 + 2 * 32 * 64 + 64 * 64 + 3 * 64 * 112);
const HEAD = 300 * 64;
/** segments of 3 and 5 tokens, a position of padding, 4 targets */
const batch = {
  tokens: 8,
  segmentIds: Int32Array.of(0, 0, 0, 1, 1, 1, 1, 1, -1),
  targetRows: Int32Array.of(1, 4, 5, 6),
};
const ATTENTION = 2 * 12 * 64 * (6 + 15);

test("LoRA: 4 per frozen element, 6 per element of A and B, the head at targets, attention between pairs", async () => {
  const model = await loadModel(await testDevice(), nodeFiles(), FOLDER);
  const config = { r: 4, alpha: 8, useRslora: false, targetModules: ["q_proj", "down_proj"] };
  const tuning = tuneLora(model, config, { seed: 0 });
  const lowRank = 2 * (4 * (64 + 64) + 4 * (112 + 64));
  const flops = 8 * (4 * LINEAR + 6 * lowRank) + 4 * 4 * HEAD + ATTENTION;
  expect(modelFlops(tuning, [batch])).toBe(flops);
  expect(modelFlops(tuning, [batch, batch])).toBe(2 * flops);
  tuning.store.dispose();

  // a window of two: 1+2+2 and 1+2+2+2+2 pairs, in the layer that has it
  const windowed = { ...model, config: { ...model.config, windows: [undefined, 2] } };
  const all = 8 * 4 * LINEAR + 4 * 4 * HEAD + ATTENTION;
  expect(modelFlops({ model: windowed, adapter: undefined }, [batch])).toBe(all - 12 * 64 * (6 + 15 - 5 - 9));
  model.dispose();
});

test("all weights trained: 6 per element, the head's, too", async () => {
  const device = await testDevice();
  const { config } = await loadModel(device, nodeFiles(), FOLDER).then((model) => {
    model.dispose();
    return model;
  });
  const { store, place } = storeForModel(device, config);
  const model = await loadModel(device, nodeFiles(), FOLDER, { place });
  expect(modelFlops({ model, adapter: undefined }, [batch])).toBe(8 * 6 * LINEAR + 4 * 6 * HEAD + ATTENTION);
  model.dispose();
  store.dispose();
});
