// The references against torch and transformers: a whole Llama put together from them, and optimizer runs.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  adamwStep,
  attention,
  clipGradNorm,
  crossEntropy,
  embedding,
  matmul,
  maxAbsError,
  readGolden,
  rmsNorm,
  rope,
  swiglu,
} from "./index.ts";

const folder = new URL("../../../fixtures/goldens/", import.meta.url);
const json = (path: string): any => JSON.parse(readFileSync(new URL(path, folder), "utf8"));

type Tensors = (name: string) => Float64Array;

function golden(path: string): Tensors {
  const tensors = readGolden(readFileSync(new URL(path, folder)));
  return (name) => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`${path} has no tensor ${name}`);
    return tensor.values;
  };
}

interface Input {
  readonly ids: ArrayLike<number>;
  readonly positions: ArrayLike<number>;
  readonly segmentIds: ArrayLike<number>;
}

/** Logits `[tokens, vocab]` of Llama or Mistral, and hidden states as transformers numbers them. */
function forward(config: any, weight: Tensors, input: Input): { logits: Float64Array; hidden: Float64Array[] } {
  const { hidden_size: dim, num_attention_heads: heads, num_key_value_heads: kvHeads } = config;
  const tokens = input.ids.length;
  const headDim = dim / heads;
  const frequencies = Array.from({ length: headDim / 2 }, (_, i) => config.rope_theta ** ((-2 * i) / headDim));
  const linear = (x: Float64Array, name: string): Float64Array => {
    const w = weight(`${name}.weight`);
    const k = x.length / tokens;
    return matmul(x, w, { m: tokens, k, n: w.length / k }, "NT");
  };
  const norm = (x: Float64Array, name: string): Float64Array =>
    rmsNorm(x, weight(`${name}.weight`), config.rms_norm_eps);
  const add = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value + b[i]!);

  const hidden = [embedding(weight("model.embed_tokens.weight"), input.ids, dim)];
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const name = `model.layers.${layer}`;
    const before = hidden[layer]!;
    const x = norm(before, `${name}.input_layernorm`);
    const q = rope(linear(x, `${name}.self_attn.q_proj`), input.positions, frequencies, heads);
    const k = rope(linear(x, `${name}.self_attn.k_proj`), input.positions, frequencies, kvHeads);
    const v = linear(x, `${name}.self_attn.v_proj`);
    const window = config.sliding_window ?? Infinity;
    const mixed = attention(q, k, v, { heads, kvHeads, headDim, segmentIds: input.segmentIds, window });
    const attended = add(before, linear(mixed, `${name}.self_attn.o_proj`));
    const y = norm(attended, `${name}.post_attention_layernorm`);
    const inner = swiglu(linear(y, `${name}.mlp.gate_proj`), linear(y, `${name}.mlp.up_proj`));
    hidden.push(add(attended, linear(inner, `${name}.mlp.down_proj`)));
  }
  hidden.push(norm(hidden.pop()!, "model.norm")); // transformers lists the last state after the final norm
  return { logits: linear(hidden.at(-1)!, "lm_head"), hidden };
}

/** Labels `[rows, columns]` shifted by one within each row: the last target of a row is ignored. */
function shifted(labels: Float64Array, columns: number): number[] {
  return Array.from(labels, (_, i) => ((i + 1) % columns === 0 ? -100 : labels[i + 1]!));
}

const mean = (logits: Float64Array, targets: number[]): number =>
  crossEntropy(logits, targets).loss / targets.filter((target) => target !== -100).length;

describe.each(["llama-untied", "mistral-swa"])("%s", (model) => {
  const config = json(`models/${model}/config.json`);
  const weight = golden(`models/${model}/model.safetensors`);
  const { batches } = json(`models/${model}/golden.json`);

  test("plain batch: every hidden state, logits and the float64 loss", () => {
    const expected = golden(`models/${model}/golden_plain.safetensors`);
    const ids = expected("input_ids");
    const positions = Array.from(ids, (_, i) => i % 16);
    const { logits, hidden } = forward(config, weight, {
      ids,
      positions,
      segmentIds: Array.from(ids, (_, i) => Math.floor(i / 16)),
    });
    for (const [i, state] of hidden.entries()) expect(maxAbsError(state, expected(`hidden_${i}`))).toBeLessThan(1e-5);
    expect(maxAbsError(logits, expected("logits"))).toBeLessThan(2e-5);
    expect(mean(logits, shifted(expected("labels"), 16))).toBeCloseTo(batches.plain.loss_float64, 6);
  });

  test("packed batch: segments that restart their positions", () => {
    const expected = golden(`models/${model}/golden_packed.safetensors`);
    const input = { ids: expected("input_ids"), positions: expected("position_ids"), segmentIds: expected("seq_ids") };
    const { logits } = forward(config, weight, input);
    expect(maxAbsError(logits, expected("logits"))).toBeLessThan(2e-5);
    expect(mean(logits, shifted(expected("labels"), 40))).toBeCloseTo(batches.packed.loss_float64, 6);
  });

  test("padded batch: segment −1 on the right of one row and the left of the other", () => {
    const expected = golden(`models/${model}/golden_padded.safetensors`);
    const mask = expected("attention_mask");
    const segmentIds = Array.from(mask, (on, i) => (on === 1 ? Math.floor(i / 16) : -1));
    const input = { ids: expected("input_ids"), positions: expected("position_ids"), segmentIds };
    const { logits } = forward(config, weight, input);
    const vocab: number = config.vocab_size;
    const real = (values: Float64Array): Float64Array => values.filter((_, i) => mask[Math.floor(i / vocab)] === 1);
    expect(maxAbsError(real(logits), real(expected("logits")))).toBeLessThan(2e-5);
    expect(mean(logits, shifted(expected("labels"), 16))).toBeCloseTo(batches.padded.loss_float64, 6);
  });
});

describe("torch.optim", () => {
  const problem = golden("optim/problem.safetensors");
  const settings = json("optim/golden.json");

  test.each(["adamw", "adamw_b95"])("%s: twelve steps of a matrix and a vector", (name) => {
    const expected = golden(`optim/${name}.safetensors`);
    const { lr, betas, eps, weight_decay: weightDecay } = settings[name].args;
    for (const [tensor, size] of [
      ["w", 24 * 16],
      ["b", 7],
    ] as const) {
      const state = { param: problem(`${tensor}0`).slice(), m: new Float64Array(size), v: new Float64Array(size) };
      for (let s = 0; s < 12; s++) {
        const gradient = problem(`grad_${tensor}`).subarray(s * size, (s + 1) * size);
        adamwStep(state, gradient, { lr, beta1: betas[0], beta2: betas[1], eps, weightDecay, step: s + 1 });
        const after = expected(tensor).subarray(s * size, (s + 1) * size);
        expect(maxAbsError(state.param, after)).toBeLessThan(2e-6);
      }
      expect(maxAbsError(state.m, expected(`state_${tensor}.exp_avg`))).toBeLessThan(1e-6);
      expect(maxAbsError(state.v, expected(`state_${tensor}.exp_avg_sq`))).toBeLessThan(1e-6);
    }
  });

  test.each([
    ["1", 1],
    ["0.1", 0.1],
    ["1e+09", 1e9],
  ])("clip_grad_norm_ at %s", (name, maxNorm) => {
    const expected = golden(`optim/clip_${name}.safetensors`);
    const gradients = [problem("grad_w").subarray(0, 24 * 16), problem("grad_b").subarray(0, 7)];
    const { norm, clipped } = clipGradNorm(gradients, maxNorm);
    expect(norm).toBeCloseTo(4.784653663635254, 6);
    expect(maxAbsError(clipped[0]!, expected("w"))).toBeLessThan(1e-6);
    expect(maxAbsError(clipped[1]!, expected("b"))).toBeLessThan(1e-6);
  });
});

test("readGolden widens bf16 and f16 exactly", () => {
  // bf16 and f16 weights of the goldens were drawn as float32 and rounded; here hand-made patterns
  const header = JSON.stringify({
    a: { dtype: "BF16", shape: [4], data_offsets: [0, 8] },
    b: { dtype: "F16", shape: [4], data_offsets: [8, 16] },
  });
  const file = new Uint8Array(8 + header.length + 16);
  const view = new DataView(file.buffer);
  view.setUint32(0, header.length, true);
  file.set(new TextEncoder().encode(header), 8);
  const words = [0x3f80, 0xc049, 0x0001, 0xff80, 0x3c00, 0xc248, 0x0001, 0xfc00];
  for (const [i, word] of words.entries()) view.setUint16(8 + header.length + 2 * i, word, true);
  const tensors = readGolden(file);
  expect(tensors.get("a")!.values).toEqual(Float64Array.of(1, -3.140625, 2 ** -133, -Infinity));
  expect(tensors.get("b")!.values).toEqual(Float64Array.of(1, -3.140625, 2 ** -24, -Infinity));
});
