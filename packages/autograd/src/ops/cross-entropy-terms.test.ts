// Label smoothing and z-loss inside the fused cross-entropy: transformers' LabelSmoother, finite differences of a float64
// loss written from the definitions, and what stays plain.

import { record, state } from "@tunesmith/tensor";
import {
  finiteDifference,
  matmul as referenceMatmul,
  maxAbsError,
  readGolden,
  relativeMaxError,
  seededIntegers,
  seededNormals,
} from "@tunesmith/testing";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { f32, i32, testDevice, values } from "../../../../tests/support/device.ts";
import { goldenPath } from "../../../../tests/support/goldens.ts";
import { backward, gradients, trainable } from "../tape.ts";
import { linearCrossEntropy } from "./linear-cross-entropy.ts";

const portable = { subgroups: false, immediates: false, software: false };
const rowsOf = (targets: ArrayLike<number>): number[] => {
  const rows = Array.from(targets, (target, t) => (target >= 0 ? t : -1)).filter((t) => t >= 0);
  return [...rows, ...Array.from({ length: targets.length - rows.length }, () => -1)];
};

interface Terms {
  readonly labelSmoothing?: number;
  readonly zLoss?: number;
  readonly softCap?: number;
}

/** Σ_t w_t · ((1 − ε) · −log p(target) + ε · mean of −log p + z · logsumexp²), from the definitions. */
function loss64(
  hidden: ArrayLike<number>,
  head: ArrayLike<number>,
  { targets, weights, dim }: { targets: ArrayLike<number>; weights: ArrayLike<number>; dim: number },
  { labelSmoothing: ε = 0, zLoss = 0, softCap = Infinity }: Terms,
): number {
  const [tokens, vocab] = [targets.length, head.length / dim];
  const raw = referenceMatmul(hidden, head, { m: tokens, n: vocab, k: dim }, "NT");
  const logits = softCap === Infinity ? raw : raw.map((l) => softCap * Math.tanh(l / softCap));
  let loss = 0;
  for (let t = 0; t < tokens; t++) {
    if (targets[t]! < 0) continue;
    const row = logits.slice(t * vocab, (t + 1) * vocab);
    const partition = Math.log(row.reduce((sum, l) => sum + Math.exp(l), 0));
    const surprise = row.map((l) => partition - l);
    const smooth = surprise.reduce((a, b) => a + b, 0) / vocab;
    loss += weights[t]! * ((1 - ε) * surprise[targets[t]!]! + ε * smooth + zLoss * partition ** 2);
  }
  return loss;
}

describe.each([
  ["subgroup", undefined],
  ["portable", portable],
])("%s", (_, facts) => {
  const golden = readGolden(readFileSync(goldenPath("objective", "terms.safetensors")));
  const { cases } = JSON.parse(readFileSync(goldenPath("objective", "golden.json"), "utf8"));
  test.each(Object.entries<{ label_smoothing: number; z_loss: number }>(cases))(
    "golden %s: loss and both gradients",
    async (name, { label_smoothing: labelSmoothing, z_loss: zLoss }) => {
      const device = await testDevice(facts);
      const of = (key: string): Float64Array => golden.get(key)!.values;
      const labels = of("labels");
      const [tokens, dim] = golden.get("hidden")!.shape as [number, number];
      const count = labels.filter((label) => label >= 0).length;
      const hidden = trainable(f32(device, [tokens, dim], of("hidden")));
      const head = f32(device, golden.get("head")!.shape, of("head"));
      trainable(head);
      const { loss } = linearCrossEntropy(hidden, head, {
        targets: i32(device, [tokens], labels),
        weights: f32(device, [tokens], new Float64Array(tokens).fill(1 / count)),
        rows: i32(device, [tokens], rowsOf(labels)),
        labelSmoothing,
        zLoss,
      });
      expect(relativeMaxError(await values(loss), of(`${name}_loss`))).toBeLessThan(1e-6);
      const [dHidden, dHead] = gradients(loss, f32(device, [1], [1]), [hidden, head]);
      expect(maxAbsError(await values(dHidden!), of(`${name}_d_hidden`))).toBeLessThan(1e-6);
      expect(maxAbsError(await values(dHead!), of(`${name}_d_head`))).toBeLessThan(1e-6);
    },
  );

  test.each<[string, boolean, Terms]>([
    ["smoothing, frozen head", false, { labelSmoothing: 0.2 }],
    ["z-loss, trained head", true, { zLoss: 0.05 }],
    ["both on capped logits, frozen head", false, { labelSmoothing: 0.1, zLoss: 0.02, softCap: 2 }],
  ])("%s: gradients are the slopes of the float64 loss; losses stay plain", async (_, trained, terms) => {
    const device = await testDevice(facts);
    const [tokens, vocab, dim] = [9, 70, 5];
    const targets = seededIntegers(tokens, 3, 0, vocab).map((id, t) => (t % 3 === 1 ? -100 : id));
    const weights = seededNormals(tokens, 4).map((w) => Math.fround(Math.abs(w) + 0.1));
    const [hidden64, head64] = [seededNormals(tokens * dim, 1), seededNormals(vocab * dim, 2)];
    const problem = { targets, weights, dim };
    const hidden = trainable(f32(device, [tokens, dim], hidden64));
    const head = f32(device, [vocab, dim], head64);
    if (trained) trainable(head);
    const given = {
      targets: i32(device, [tokens], targets),
      weights: f32(device, [tokens], weights),
      rows: i32(device, [tokens], rowsOf(targets)),
    };
    const { loss, losses, added } = linearCrossEntropy(hidden, head, { ...given, ...terms });
    const plain = linearCrossEntropy(hidden, head, { ...given, softCap: terms.softCap });
    expect(plain.added).toBeUndefined();
    expect(await values(losses)).toEqual(await values(plain.losses));
    const [extra, own] = [await values(added!), await values(losses)];
    const sum = weights.reduce((total, w, t) => total + w * (own[t]! + extra[t]!), 0);
    const expected = loss64(hidden64, head64, problem, terms);
    expect(Math.abs(sum - expected)).toBeLessThan(1e-6 * expected);
    expect(relativeMaxError(await values(loss), [expected])).toBeLessThan(1e-6);
    expect([...extra].every((x, t) => targets[t]! >= 0 || x === 0)).toBe(true);

    const [dHidden, dHead] = gradients(loss, f32(device, [1], [0.5]), trained ? [hidden, head] : [hidden]);
    const byHidden = finiteDifference((v) => 0.5 * loss64(v, head64, problem, terms), hidden64);
    expect(maxAbsError(await values(dHidden!), byHidden)).toBeLessThan(5e-6);
    if (!dHead) return;
    const byHead = finiteDifference((v) => 0.5 * loss64(hidden64, v, problem, terms), head64);
    expect(maxAbsError(await values(dHead), byHead)).toBeLessThan(5e-6);
  });
});

test("chunks of logits stay all there is of [tokens, vocab], and the list may end early", async () => {
  const device = await testDevice();
  const [tokens, vocab, dim] = [130, 40, 8];
  const [hidden64, head64] = [seededNormals(tokens * dim, 1), seededNormals(vocab * dim, 2)];
  const sink = state(device, { shape: [vocab, dim], dtype: "f32", category: "gradients", label: "sink" });
  const terms = { labelSmoothing: 0.1, zLoss: 0.01 };
  const program = record(device, "loss", ({ input }) => {
    const head = input("head", [vocab, dim], "f32");
    trainable(head, sink);
    const { loss, losses, added } = linearCrossEntropy(trainable(input("hidden", [tokens, dim], "f32")), head, {
      targets: input("targets", [tokens], "i32"),
      weights: input("weights", [tokens], "f32"),
      rows: input("rows", [tokens], "i32"),
      chunkRows: 64,
      ...terms,
    });
    backward(loss);
    return { loss, losses, added: added! };
  });
  expect(program.plan.slots[0]).toBe(4 * 64 * vocab);
  for (const count of [130, 65, 1]) {
    const targets = seededIntegers(tokens, 3, 0, vocab).map((id, t) => (t < count ? id : -100));
    const weights = new Float64Array(tokens).fill(1 / 64);
    device.eager.clear(sink);
    const out = await program
      .replay({
        hidden: Float32Array.from(hidden64),
        head: Float32Array.from(head64),
        targets,
        weights: Float32Array.from(weights),
        rows: Int32Array.from(rowsOf(targets)),
      })
      .read();
    expect(relativeMaxError(out["loss"]!, [loss64(hidden64, head64, { targets, weights, dim }, terms)])).toBeLessThan(
      1e-6,
    );
    const dHead = await values(sink);
    const slope = (at: number): number => {
      const h = 1e-5;
      const moved = (by: number): number =>
        loss64(
          hidden64,
          head64.map((w, i) => (i === at ? w + by : w)),
          { targets, weights, dim },
          terms,
        );
      return (moved(h) - moved(-h)) / (2 * h);
    };
    for (const at of [0, 77, vocab * dim - 1]) expect(Math.abs(dHead[at]! - slope(at))).toBeLessThan(1e-5);
  }
  program.dispose();
  sink.dispose();
});

test.each([{ labelSmoothing: 1 }, { labelSmoothing: -0.1 }, { zLoss: -1 }, { zLoss: Number.NaN }])(
  "%j is refused",
  async (terms) => {
    const device = await testDevice();
    const given = { targets: i32(device, [1], [0]), weights: f32(device, [1], [1]), rows: i32(device, [1], [0]) };
    expect(() =>
      linearCrossEntropy(f32(device, [1, 1], [1]), f32(device, [1, 1], [1]), { ...given, ...terms }),
    ).toThrow(RangeError);
  },
);
