// The recorded programs of a step against the same functions run eagerly, and against themselves.
import { createHash } from "node:crypto";
import { backward, linearCrossEntropy, scoreTokens } from "@tunesmith/autograd";
import { makeBatch, targetScale } from "@tunesmith/data";
import type { Batch } from "@tunesmith/data";
import { loadModel, declareTokens, forward, tokenValues } from "@tunesmith/models";
import type { Model, Recompute } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { adamw, scalarCount } from "@tunesmith/optim";
import type { ParameterStore } from "@tunesmith/optim";
import { scope, upload } from "@tunesmith/tensor";
import type { Device, DType, Inputs, Tensor, TensorData } from "@tunesmith/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../../../tests/support/device.ts";
import { goldenPath } from "../../../tests/support/goldens.ts";
import { RunPrograms } from "./programs.ts";
import { ScorePrograms } from "./score.ts";
import { declareTargets, targetValues } from "./targets.ts";
import { tuneLora } from "./tuning.ts";
import type { Tuning } from "./tuning.ts";

const TOKENS = 64;
const optimizer = adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.1, maxGradNorm: 0.5 });
const AT = { lr: 1e-2, step: 1 };
const FIRST = { step: 0, firstSegment: 0 };

let device: Device;
let model: Model;
let batch: Batch;
let weights: Float32Array;
beforeAll(async () => {
  device = await testDevice();
  model = await loadModel(device, nodeFiles(), goldenPath("models", "llama-untied"));
  const examples = [11, 17].map((length, row) => ({
    inputIds: Int32Array.from({ length }, (_, t) => (row * 31 + t * 17) % 300),
    targets: Int32Array.from({ length }, (_, t) => (t % 2 === 0 && t + 1 < length ? (row + t * 5) % 300 : -100)),
    targetWeights: Float32Array.from({ length }, (_, t) => (t % 2 === 0 && t + 1 < length ? 1 : 0)),
    task: "a",
    row,
  }));
  batch = makeBatch(examples, { packing: true, tasks: ["a"] });
  weights = targetScale([batch], "token_mean", [1])[0]!;
});
afterAll(() => model.dispose());

/** An adapter with a gradient for A, too: B does not start at zero. */
function tuned(): Tuning & Required<Pick<Tuning, "adapter">> {
  const tuning = tuneLora(model, { r: 4, alpha: 8, useRslora: false, targetModules: "all-linear" }, { seed: 7 });
  reset(tuning.store);
  return tuning as ReturnType<typeof tuned>;
}

function reset(store: ParameterStore): void {
  for (const [i, { values, gradients, m, v }] of store.shards.entries()) {
    values.write(Float32Array.from({ length: values.size }, (_, k) => 0.1 * Math.sin(i + k)));
    gradients.write(new Float32Array(gradients.size));
    for (const moment of [m!, v!]) moment.write(new Float32Array(moment.size));
  }
  store.clearHalt();
}

const programsOf = (tuning: Tuning, recompute: Recompute): RunPrograms =>
  new RunPrograms(tuning, {
    optimizer,
    shape: { microBatches: new Map([[TOKENS, 3]]), scored: new Set(), tokens: TOKENS },
    memory: { recompute },
  });

/** Inputs of a recorded function as uploaded tensors. */
function eagerInputs(values: Record<string, TensorData>): Inputs {
  const input = <D extends DType>(name: string, shape: readonly number[], dtype: D): Tensor<D> =>
    upload(device, shape, dtype, values[name] as TensorData<D>);
  return { input } as Inputs;
}

const bits = (values: TensorData): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

async function hash(store: ParameterStore): Promise<string> {
  const digest = createHash("sha256");
  for (const { values, m, v } of store.shards)
    for (const tensor of [values, m!, v!]) digest.update(bits(await tensor.read()));
  return digest.digest("hex");
}

test("scores are the bits of eager mode, twenty times", async () => {
  const tuning = tuned();
  const { store, adapter } = tuning;
  const sequence = { ...batch, targets: batch.targets };
  const targets = new Int32Array(TOKENS).fill(-100);
  targets.set(batch.targets);
  const limits = { vocab: 300, positions: model.positions };
  const inputs = eagerInputs({ ...tokenValues(batch, TOKENS, limits), targets });
  const eager = await scope(device, async () => {
    const hidden = forward(model, declareTokens(inputs, TOKENS), { adapter });
    const scores = scoreTokens(hidden, model.lm_head, { targets: inputs.input("targets", [TOKENS], "i32") });
    return { logProbs: await scores.logProbs.read(), entropy: await scores.entropy.read() };
  });
  const scores = new ScorePrograms(tuning);
  const length = batch.inputIds.length;
  for (let repeat = 0; repeat < 20; repeat++) {
    const found = await scores.score(sequence);
    expect(bits(found.logProbs)).toEqual(bits(eager.logProbs.subarray(0, length)));
    expect(bits(found.entropy)).toEqual(bits(eager.entropy.subarray(0, length)));
  }
  expect(eager.logProbs.some((v) => v !== 0)).toBe(true);
  scores.dispose();
  store.dispose();
});

describe.each(["none", "layer"] as const)("a step, recompute %s", (recompute) => {
  test("losses, gradients and update are the bits of eager mode", async () => {
    const tuning = tuned();
    const { store, adapter } = tuning;
    const limits = { vocab: 300, positions: model.positions };
    const inputs = eagerInputs({
      ...tokenValues(batch, TOKENS, limits),
      ...targetValues(batch, weights, TOKENS),
      scalars: optimizer.scalars(store.layout, AT),
    });
    const eager = await scope(device, async () => {
      const hidden = forward(model, declareTokens(inputs, TOKENS), { adapter, recompute });
      const { loss, losses } = linearCrossEntropy(hidden, model.lm_head, declareTargets(inputs, TOKENS));
      backward(loss);
      const gradients = await store.readAll("gradients");
      const scalars = inputs.input("scalars", [scalarCount(store.layout)], "f32");
      const { gradNorm } = optimizer.update(store, scalars);
      return { losses: await losses.read(), gradients, norm: (await gradNorm!.read())[0]!, hash: await hash(store) };
    });

    reset(store);
    const programs = programsOf(tuning, recompute);
    expect(bits((await programs.microBatch(batch, weights, FIRST)).losses)).toEqual(bits(eager.losses));
    for (const [name, gradient] of await store.readAll("gradients"))
      expect(bits(gradient), name).toEqual(bits(eager.gradients.get(name)!));
    expect([...eager.gradients.values()].every((gradient) => gradient.some((v) => v !== 0))).toBe(true);
    expect(await programs.update(AT)).toEqual({ gradNorm: eager.norm });
    expect(await hash(store)).toBe(eager.hash);
    programs.dispose();
    store.dispose();
  });

  test("twenty repeats end in the same bytes", async () => {
    const tuning = tuned();
    const programs = programsOf(tuning, recompute);
    const hashes = new Set<string>();
    for (let repeat = 0; repeat < 20; repeat++) {
      reset(tuning.store);
      void programs.microBatch(batch, weights, FIRST);
      await programs.microBatch(batch, weights, FIRST);
      await programs.update(AT);
      hashes.add(await hash(tuning.store));
    }
    expect(hashes.size).toBe(1);
    programs.dispose();
    tuning.store.dispose();
  });
});

test("a NaN with two steps in flight leaves weights and moments as they were", async () => {
  const tuning = tuned();
  const programs = programsOf(tuning, "none");
  await programs.microBatch(batch, weights, FIRST);
  await programs.update(AT);
  const before = await hash(tuning.store);

  const bad = weights.map((w) => (w === 0 ? 0 : Infinity));
  void programs.microBatch(batch, bad, FIRST);
  const second = programs.update({ lr: 1e-2, step: 2 });
  void programs.microBatch(batch, weights, FIRST);
  const results = await Promise.all([second, programs.update({ lr: 1e-2, step: 3 })]);
  expect(results.map(({ gradNorm }) => Number.isFinite(gradNorm))).toEqual([false, false]);
  expect(await hash(tuning.store)).toBe(before);

  tuning.store.clearHalt();
  tuning.store.zeroGradients();
  await programs.microBatch(batch, weights, FIRST);
  expect((await programs.update({ lr: 1e-2, step: 2 })).gradNorm).toBeGreaterThan(0);
  expect(await hash(tuning.store)).not.toBe(before);
  programs.dispose();
  tuning.store.dispose();
});
