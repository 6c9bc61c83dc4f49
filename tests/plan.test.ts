// What the plan says is what the device gives: bytes created, counted at the GPUDevice's own create and destroy calls, equal
// states + shared slots + staging; and the plan is known before the first of them exists.
import { backward, linearCrossEntropy } from "@tunesmith/autograd";
import { declareTokens, forward, loadModel, parameterShapes, tokenValues } from "@tunesmith/models";
import { nodeFiles, openDevice } from "@tunesmith/node";
import { tuneLora } from "@tunesmith/sft";
import { byteSize, record } from "@tunesmith/tensor";
import type { Program } from "@tunesmith/tensor";
import { expect, test } from "vitest";
import { countBytes } from "./support/count-bytes.ts";
import { goldenPath } from "./support/goldens.ts";

test("bytes on the device equal the plan; a second recording is the same program", async () => {
  const device = await openDevice({ validate: true });
  const count = countBytes(device);
  const model = await loadModel(device, nodeFiles(), goldenPath("models", "llama-untied"), { positions: 32 });
  const tuned = tuneLora(model, { r: 4, alpha: 8, useRslora: false, targetModules: "all-linear" }, { seed: 0 });

  const weights = [...parameterShapes(model.config).values()].reduce((sum, shape) => sum + byteSize(shape, "f32"), 0);
  const tables = 2 * byteSize([32, model.config.headDim / 2], "f32");
  const trained = 4 * 4 * tuned.store.layout.size; // values, gradients and two moments, f32
  const states = weights + tables + trained + 16; // and the halt flag
  expect(count.live).toBe(states);

  const make = (tokens: number): Program =>
    record(device, "micro-batch", (inputs) => {
      const hidden = forward(model, declareTokens(inputs, tokens), { adapter: tuned.adapter });
      const { loss, losses } = linearCrossEntropy(hidden, model.lm_head, {
        targets: inputs.input("targets", [tokens], "i32"),
        weights: inputs.input("weights", [tokens], "f32"),
        rows: inputs.input("rows", [tokens], "i32"),
      });
      backward(loss);
      return { losses };
    });
  const [small, large] = [make(64), make(128)];
  expect(make(64).fingerprint()).toBe(small.fingerprint());
  expect(count.live).toBe(states); // recording and planning touched nothing

  // two programs share slots: slot i is as large as the larger of their i-th
  const slots = large.plan.slots.map((bytes, i) => Math.max(bytes, small.plan.slots[i] ?? 0));
  const shared = [...slots, ...small.plan.slots.slice(slots.length)].reduce((a, b) => a + b, 0);
  const values = (tokens: number): Record<string, Int32Array | Float32Array> => ({
    ...tokenValues(
      { inputIds: Int32Array.of(1, 2, 3), positionIds: Int32Array.of(0, 1, 2), segmentIds: new Int32Array(3) },
      tokens,
      {
        vocab: 300,
        positions: 32,
      },
    ),
    targets: Int32Array.from({ length: tokens }, (_, i) => (i === 1 ? 3 : -100)),
    weights: Float32Array.from({ length: tokens }, (_, i) => (i === 1 ? 1 : 0)),
    rows: Int32Array.from({ length: tokens }, (_, i) => (i === 0 ? 1 : -1)),
  });
  await large.replay(values(128)).read();
  await small.replay(values(64)).read();
  expect(count.live).toBe(states + shared + large.stagingBytes + small.stagingBytes);

  const before = count.created;
  for (let i = 0; i < 3; i++) await small.replay(values(64)).read();
  expect(count.created).toBe(before);
  expect([...device.bytes.values()].reduce((a, b) => a + b, 0)).toBe(count.live); // the device's own books agree

  for (const program of [small, large]) program.dispose();
  device.workspace.release();
  tuned.store.dispose();
  model.dispose();
  device.trim();
  expect(count.live).toBe(0);
});
