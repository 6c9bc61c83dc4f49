// Four-bit weights against bitsandbytes and PEFT: a layer, a model that bitsandbytes quantized, and LoRA on top of it.
import { linear, backward, trainable } from "@tunesmith/autograd";
import { fourBitCodec } from "@tunesmith/lora";
import { linearPaths, loadModel, planModel, readModelFormats } from "@tunesmith/models";
import type { Model } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { learningRate } from "@tunesmith/optim";
import { ScorePrograms } from "@tunesmith/sft";
import { elementCount, fourBitWeight, upload, virtualDevice } from "@tunesmith/tensor";
import type { Device, Tensor, Weight } from "@tunesmith/tensor";
import { readGolden as readAll } from "@tunesmith/testing";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "../support/device.ts";
import { runSteps, tuning } from "../support/golden-training.ts";
import { flatBatch, goldenPath, gradientError, maxError, readGolden, readJson } from "../support/goldens.ts";

const PORTABLE = { software: false, subgroups: false, immediates: false };

describe.each([
  ["as opened", undefined],
  ["portable kernels", PORTABLE],
])("a linear layer on NF4 with double quantization and LoRA, %s", (_, facts) => {
  test("values and gradients", async () => {
    const device = await testDevice(facts);
    const golden = readAll(readFileSync(goldenPath("nf4", "linear_lora.safetensors")));
    const of = (name: string): Float32Array => Float32Array.from(golden.get(name)!.values);
    const packed = Uint8Array.from(of("packed"));
    const weight = await fourBitWeight(device, {
      shape: [48, 80],
      format: "nf4",
      scales: {
        blockSize: 64,
        scales: Uint8Array.from(of("nested_absmax_q")),
        group: {
          map: Float32Array.from(
            readAll(readFileSync(goldenPath("nf4", "tables.safetensors"))).get("dynamic_map")!.values,
          ),
          scales: of("nested_absmax"),
          offset: of("nested_offset")[0]!,
        },
      },
      elements: (first, end) => Promise.resolve(packed.subarray(first, end)),
      label: "golden",
    });
    const tensor = (name: string): Tensor => upload(device, golden.get(name)!.shape, "f32", of(name));
    const zeros = (name: string): Tensor => {
      const { shape } = golden.get(name)!;
      return upload(device, shape, "f32", new Float32Array(elementCount(shape)));
    };
    const sinks = { x: zeros("x"), lora_A: zeros("lora_A"), lora_B: zeros("lora_B"), bias: zeros("bias") };
    const leaf = (name: keyof typeof sinks): Tensor => trainable(tensor(name), sinks[name]);
    const y = linear(leaf("x"), weight, {
      bias: leaf("bias"),
      lowRank: { a: leaf("lora_A"), b: leaf("lora_B"), scale: of("scaling")[0]! },
    });
    expect(gradientError(await y.read(), of("y"))).toBeLessThan(1e-6);
    backward(y, tensor("dy"));
    for (const [name, sink] of Object.entries(sinks))
      expect(gradientError(await sink.read(), of(`d${name}`)), name).toBeLessThan(1e-6);
    weight.shards.forEach((shard) => shard.tensor.dispose());
  });
});

// sharded: no projection fits one binding
describe.each([
  ["as opened", undefined],
  ["portable kernels", PORTABLE],
])("llama-nf4-bnb, %s", (_, facts) => {
  let device: Device;
  let model: Model;
  beforeAll(async () => {
    device = await testDevice(facts);
    model = await loadModel(device, nodeFiles(), goldenPath("models", "llama-nf4-bnb"), { codec: fourBitCodec() });
  });
  afterAll(() => model.dispose());

  test("log-probabilities and loss of bitsandbytes' own model", async () => {
    const golden = readGolden("models", "llama-nf4-bnb", "golden_plain.safetensors");
    const batch = flatBatch(golden);
    const programs = new ScorePrograms({ model, adapter: undefined });
    const { logProbs } = await programs.score(batch);
    programs.dispose();
    const targets = [...batch.targets.keys()].filter((i) => batch.targets[i] !== -100);
    const mean = targets.reduce((sum, i) => sum - logProbs[i]!, 0) / targets.length;
    expect(Math.abs(mean - golden.get("loss")!.values[0]!)).toBeLessThan(2e-5);
    const logits = golden.get("logits")!.values;
    const vocab = golden.get("logits")!.shape[2]!;
    for (const i of targets) {
      const row = logits.subarray(i * vocab, (i + 1) * vocab);
      const most = row.reduce((a, b) => Math.max(a, b));
      const want = Math.log(row.reduce((sum, v) => sum + Math.exp(v - most), 0)) + most - row[batch.targets[i]!]!;
      expect(Math.abs(-logProbs[i]! - want)).toBeLessThan(1e-4);
    }
  });

  test("loss, gradient norm and gradients of an adapter", async () => {
    const name = "qlora_llama_qkvo";
    const golden = readGolden("lora", name, "golden.safetensors");
    const tuned = await tuning(model, name, "adapter");
    const [step] = await runSteps(tuned, golden, {
      totalSteps: 1,
      window: () => [[0, 1]],
      lr: () => 0,
      clip: undefined,
      packing: true,
    });
    const info = readJson<{ loss_float64: number }>("lora", name, "golden.json");
    expect(Math.abs(step!.loss - info.loss_float64)).toBeLessThan(2e-5);
    const moments = await tuned.store.readAll("m");
    const gradients = readGolden("lora", name, "grads.safetensors");
    expect([...moments.keys()].sort()).toEqual([...gradients.keys()].sort());
    for (const [parameter, { values }] of gradients) {
      const gradient = moments.get(parameter)!.map((m) => m / 0.1); // AdamW's first moment, (1 − β₁)·gradient
      expect(gradientError(gradient, values), parameter).toBeLessThan(1e-4);
    }
    tuned.store.dispose();
  });
});

describe("llama-nf4-bnb", () => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice();
  });

  test("ten training steps", async () => {
    const codec = fourBitCodec();
    const model = await loadModel(device, nodeFiles(), goldenPath("models", "llama-nf4-bnb"), { codec });
    const { ten_steps: golden } = readJson<{
      ten_steps: { steps: { loss: number; grad_norm_before_clip: number; lr: number; label_tokens: number }[] };
    }>("lora", "qlora_llama_qkvo", "golden.json");
    const tuned = await tuning(model, "qlora_llama_qkvo", "adapter");
    const schedule = { name: "linear" as const, lr: 1e-3, warmupSteps: 3, totalSteps: 10 };
    const events = await runSteps(tuned, readGolden("lora", "llama_qkvo_20steps", "data.safetensors"), {
      totalSteps: 10,
      window: (step) => [0, 1].map((m) => [4 * step + 2 * m, 4 * step + 2 * m + 1]),
      lr: (step) => learningRate(schedule, step),
      clip: 1,
      packing: true,
    });
    expect(golden.steps).toHaveLength(10);
    for (const [i, expected] of golden.steps.entries()) {
      const step = events[i]!;
      expect(Math.abs(step.loss - expected.loss), `loss of step ${i + 1}`).toBeLessThan(5e-5);
      const norm = expected.grad_norm_before_clip;
      expect(Math.abs(step.grad_norm - norm) / norm, `gradient norm of step ${i + 1}`).toBeLessThan(1e-4);
      expect(Math.abs(step.lr - expected.lr)).toBeLessThan(1e-15);
      expect(step.target_tokens).toBe(expected.label_tokens);
    }
    const values = await tuned.store.readAll("values");
    for (const [parameter, expected] of readGolden("lora", "qlora_llama_qkvo", "params_after_10.safetensors"))
      expect(maxError(values.get(parameter)!, expected.values), parameter).toBeLessThan(1e-5);
    tuned.store.dispose();
    model.dispose();
  });

  test("is what quantizing llama-untied while it loads gives, to the bit", async () => {
    const quantize = { type: "nf4", blockSize: 64, doubleQuant: true } as const;
    const theirs = await loadModel(device, nodeFiles(), goldenPath("models", "llama-nf4-bnb"), {
      codec: fourBitCodec(),
    });
    const ours = await loadModel(device, nodeFiles(), goldenPath("models", "llama-untied"), {
      codec: fourBitCodec({ quantize }),
    });
    const weight = (model: Model, name: string): Weight => model.parameters.get(name) as Weight;
    const words = (model: Model): Promise<unknown[]> =>
      Promise.all(
        [...linearPaths(model.config).keys()].map((path) => weight(model, `${path}.weight`).shards[0]!.tensor.read()),
      );
    expect(await words(ours)).toEqual(await words(theirs));
    expect([ours.lm_head.format, ours.embedding.format]).toEqual(["f32", "f32"]);
    expect(weight(ours, "model.layers.0.mlp.up_proj.weight").format).toBe("nf4");
    ours.dispose();
    theirs.dispose();
  });

  // stored in four bits by bitsandbytes; plain, and quantized while it loads
  test.each([
    ["llama-nf4-bnb", fourBitCodec()],
    ["llama-untied", fourBitCodec({ quantize: { type: "fp4", blockSize: 128, doubleQuant: true } })],
    ["llama-untied", fourBitCodec({ quantize: { type: "nf4", blockSize: 64, doubleQuant: false } })],
  ])("the bytes of %s are those that were planned", async (name, codec) => {
    const folder = goldenPath("models", name);
    const { config, ...formats } = await readModelFormats(nodeFiles(), folder, codec);
    const planned = virtualDevice(device.facts);
    await planModel(planned, config, { ...formats, codec, positions: 32 });
    const before = device.bytes.get("weights") ?? 0;
    const model = await loadModel(device, nodeFiles(), folder, { codec, positions: 32 });
    expect(device.bytes.get("weights")! - before).toBe(planned.bytes.get("weights"));
    model.dispose();
    expect(device.bytes.get("weights")).toBe(before);
  });
});
