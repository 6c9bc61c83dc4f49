// Every value of the model goldens, computed by recorded and replayed programs: logits, log-probabilities, loss and all
// gradients, for a plain, a padded and a packed batch.
import { backward, linearCrossEntropy, softCap } from "@tunesmith/autograd";
import { declareTokens, forward, loadModel, tokenValues } from "@tunesmith/models";
import type { Model } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import type { ParameterStore } from "@tunesmith/optim";
import { storeForModel } from "@tunesmith/sft";
import { empty, matmul, record } from "@tunesmith/tensor";
import type { Device, Tensor, TensorData } from "@tunesmith/tensor";
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../support/device.ts";
import { flatBatch, goldenPath, gradientError, maxError, readGolden } from "../support/goldens.ts";
import type { FlatBatch } from "../support/goldens.ts";

const MODELS = [
  "llama-untied",
  "llama-llama3rope-tied",
  "llama-bf16",
  "llama-sharded",
  "mistral-swa",
  "qwen2-tied",
  "qwen2-fp16",
  "qwen3-tied",
  "smollm3",
  "gemma",
  "gemma2",
  "gemma3",
  "phi3",
  "gpt2",
  "gpt-neox",
];
const TOKENS = 64; // every golden batch fits the smallest bucket

/** Runs forward, loss and (with a store) backward as one replayed program. */
async function run(
  device: Device,
  model: Model,
  batch: FlatBatch,
  store: ParameterStore | undefined,
): Promise<{ logits: Float32Array; losses: Float32Array; loss: number; hidden: Float32Array[] }> {
  const { config } = model;
  const supervised = Array.from(batch.targets.keys()).filter((i) => batch.targets[i] !== -100);
  const program = record(device, "golden", (inputs) => {
    const states: Record<string, Tensor> = {};
    const onHidden = (x: Tensor, layer: number): void => void (states[`hidden_${layer}`] = x);
    const hidden = forward(model, declareTokens(inputs, TOKENS), { onHidden });
    states[`hidden_${config.layers}`] = hidden; // transformers lists the last state after the final norm
    const cap = config.logitSoftCap;
    const plain = empty(device, [TOKENS, config.vocabSize]);
    matmul({ layout: "nt", a: hidden, b: model.lm_head, out: plain });
    const logits = cap === undefined ? plain : softCap(plain, cap);
    const { loss, losses } = linearCrossEntropy(hidden, model.lm_head, {
      targets: inputs.input("targets", [TOKENS], "i32"),
      weights: inputs.input("weights", [TOKENS], "f32"),
      rows: inputs.input("rows", [TOKENS], "i32"),
      softCap: cap,
    });
    if (store) backward(loss);
    return { logits, losses, loss, ...states };
  });
  const targets = new Int32Array(TOKENS).fill(-100);
  targets.set(batch.targets);
  const rows = new Int32Array(TOKENS).fill(-1);
  rows.set(supervised);
  const weights = new Float32Array(TOKENS);
  for (const i of supervised) weights[i] = 1 / supervised.length;
  const limits = { vocab: config.vocabSize, positions: model.positions };
  const out = await program.replay({ ...tokenValues(batch, TOKENS, limits), targets, rows, weights }).read();
  program.dispose();
  const of = (name: string): Float32Array => out[name] as Float32Array;
  const hidden = Array.from({ length: config.layers + 1 }, (_, i) => of(`hidden_${i}`));
  return { logits: of("logits"), losses: of("losses"), loss: of("loss")[0]!, hidden };
}

/** log-softmax of every row at the next token's id, in float64 */
function logProbs(logits: TensorData, batch: FlatBatch, vocab: number): Map<number, number> {
  const found = new Map<number, number>();
  for (let i = 0; i + 1 < batch.inputIds.length; i++) {
    if ((i + 1) % batch.columns === 0 || batch.segmentIds[i]! < 0) continue;
    const row = Float64Array.from(logits.subarray(i * vocab, (i + 1) * vocab));
    const max = row.reduce((a, b) => Math.max(a, b));
    const sum = row.reduce((a, b) => a + Math.exp(b - max), 0);
    found.set(i, row[batch.inputIds[i + 1]!]! - max - Math.log(sum));
  }
  return found;
}

function gradientFiles(name: string, kind: string): string[] {
  const names = [`grads_${kind}.safetensors`, `grads_${kind}_first_layer.safetensors`];
  return names.filter((file) => existsSync(goldenPath("models", name, file)));
}

// one model runs on a device that promises neither subgroups nor immediates: other variants of every kernel
const PORTABLE = { software: false, subgroups: false, immediates: false };
const CASES = [
  ...MODELS.map((name) => ({ name, label: name, facts: undefined })),
  { name: "mistral-swa", label: "mistral-swa, portable kernels", facts: PORTABLE },
  // one byte of headroom less than embedding and head need: frozen, each becomes two row shards
  { name: "llama-untied", label: "llama-untied, sharded weights", facts: { maxBindingBytes: 300 * 64 * 4 } },
];

describe.each(CASES)("$label", ({ name, facts }) => {
  let device: Device;
  let frozen: Model;
  let trained: Model;
  let store: ParameterStore;
  beforeAll(async () => {
    device = await testDevice(facts);
    frozen = await loadModel(device, nodeFiles(), goldenPath("models", name));
    const placed = storeForModel(device, frozen.config);
    store = placed.store;
    trained = await loadModel(device, nodeFiles(), goldenPath("models", name), { place: placed.place });
  });
  afterAll(() => {
    frozen.dispose();
    trained.dispose();
    store.dispose();
  });

  describe.each(["plain", "padded", "packed"])("%s", (kind) => {
    const golden = readGolden("models", name, `golden_${kind}.safetensors`);
    const batch = flatBatch(golden);

    test("logits, log-probabilities and loss", async () => {
      if (facts && "maxBindingBytes" in facts) expect(frozen.lm_head.shards).toHaveLength(2);
      const { logits, losses, loss, hidden } = await run(device, frozen, batch, undefined);
      const vocab = frozen.config.vocabSize;
      const expected = golden.get("logits")!.values;
      for (let i = 0; i < batch.inputIds.length; i++) {
        if (batch.segmentIds[i]! < 0) continue; // logits at padding mean nothing
        const at = (v: ArrayLike<number>): ArrayLike<number> =>
          Array.prototype.slice.call(v, i * vocab, (i + 1) * vocab);
        expect(maxError(at(logits), at(expected))).toBeLessThan(1e-4);
      }
      if (kind === "plain")
        for (const [i, states] of hidden.entries())
          expect(maxError(states, golden.get(`hidden_${i}`)!.values), `hidden_${i}`).toBeLessThan(1e-4);
      expect(Math.abs(loss - golden.get("loss")!.values[0]!)).toBeLessThan(2e-5);
      const expectedLogProbs = golden.get("logprobs")!.values;
      const found = logProbs(logits, batch, vocab);
      expect(found.size).toBeGreaterThan(10);
      for (const [i, value] of found) {
        const row = Math.floor(i / batch.columns);
        const golden = expectedLogProbs[row * (batch.columns - 1) + (i % batch.columns)]!;
        if (batch.segmentIds[i + 1] === batch.segmentIds[i]) expect(Math.abs(value - golden)).toBeLessThan(1e-4);
        // the fused loss is the same number where there is a target
        if (batch.targets[i] !== -100) expect(Math.abs(-losses[i]! - value)).toBeLessThan(1e-4);
      }
    });

    test("all gradients", async () => {
      const files = gradientFiles(name, kind);
      // the plain batch has gradients in every model, other batches in some
      if (files.length === 0) return expect(kind).not.toBe("plain");
      store.zeroGradients();
      await run(device, trained, batch, store);
      const gradients = await store.readAll("gradients");
      const expected = readGolden("models", name, files[0]!);
      expect(expected.size).toBeGreaterThan(5);
      for (const [parameter, { values }] of expected) {
        // transformers renames GPT-NeoX's head while it loads
        const own = name === "gpt-neox" && parameter === "lm_head.weight" ? "embed_out.weight" : parameter;
        expect(gradientError(gradients.get(own)!, values), parameter).toBeLessThan(1e-4);
      }
    });
  });
});
