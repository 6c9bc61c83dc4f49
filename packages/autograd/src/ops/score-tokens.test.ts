import { describe, expect, test } from "vitest";
import type { Tensor } from "@tunesmith/tensor";
import { matmul, maxAbsError, seededIntegers, seededNormals, softmax } from "@tunesmith/testing";
import { f32, i32, testDevice, values } from "../../../../tests/support/device.ts";
import { bothModes, given, givenInts } from "../../../../tests/support/modes.ts";
import { scoreTokens } from "./score-tokens.ts";
import { softCap } from "./soft-cap.ts";

const sizes: [tokens: number, vocab: number, dim: number][] = [
  [1, 1, 1],
  [63, 65, 7],
  [150, 40, 9], // three chunks
];
describe.each([
  { name: "default", facts: undefined, sizes },
  { name: "portable", facts: { subgroups: false, immediates: false, software: false }, sizes: sizes.slice(2) },
])("scoreTokens, $name", ({ facts, sizes }) => {
  test.each(sizes)("%i tokens, vocabulary %i, dim %i", async (tokens, vocab, dim) => {
    const [hidden, head] = [seededNormals(tokens * dim, 1), seededNormals(vocab * dim, 2)];
    const shares = softmax(matmul(hidden, head, { m: tokens, n: vocab, k: dim }, "NT"), vocab);
    const targets = seededIntegers(tokens, 3, 0, vocab);
    const first = shares.subarray(0, vocab);
    targets[0] = first.indexOf(first.reduce((x, y) => Math.max(x, y)));
    const outside = [-100, vocab, 2 ** 31 - 1, -(2 ** 31)];
    if (tokens > 10) targets.set(outside, 5);
    const inputs = {
      hidden: given([tokens, dim], hidden),
      head: given([vocab, dim], head),
      targets: givenInts([tokens], targets),
    };
    const out = await bothModes(await testDevice(facts), inputs, (t) => ({
      ...scoreTokens(t.hidden, t.head as Tensor<"f32">, { targets: t.targets as Tensor<"i32">, chunkRows: 64 }),
    }));
    const logProbs = Array.from(targets, (id, t) => (id >= 0 && id < vocab ? Math.log(shares[t * vocab + id]!) : 0));
    const entropy = Array.from(targets, (_, t) =>
      shares.subarray(t * vocab, (t + 1) * vocab).reduce((sum, q) => sum - (q > 0 ? q * Math.log(q) : 0), 0),
    );
    const correct = Array.from(targets, (id, t) => {
      const row = shares.subarray(t * vocab, (t + 1) * vocab);
      return id >= 0 && id < vocab && row.every((share) => share <= row[id]!) ? 1 : 0;
    });
    expect(correct[0]).toBe(1);
    expect(Array.from(out.correct)).toEqual(correct);
    expect(maxAbsError(out.logProbs, logProbs)).toBeLessThan(2e-5);
    expect(maxAbsError(out.entropy, entropy)).toBeLessThan(2e-5);
  });
});

test("scores of capped logits, and those logits themselves", async () => {
  const [tokens, vocab, dim, cap] = [6, 70, 5, 1.5];
  const [hidden, head] = [seededNormals(tokens * dim, 1), seededNormals(vocab * dim, 2)];
  const logits = matmul(hidden, head, { m: tokens, n: vocab, k: dim }, "NT");
  const capped = logits.map((l) => cap * Math.tanh(l / cap));
  const shares = softmax(capped, vocab);
  const targets = seededIntegers(tokens, 3, 0, vocab);
  const device = await testDevice();
  const out = scoreTokens(f32(device, [tokens, dim], hidden), f32(device, [vocab, dim], head), {
    targets: i32(device, [tokens], targets),
    softCap: cap,
  });
  const logProbs = Array.from(targets, (id, t) => Math.log(shares[t * vocab + id]!));
  expect(maxAbsError(await values(out.logProbs), logProbs)).toBeLessThan(5e-6);
  const entropy = Array.from(targets, (_, t) =>
    shares.subarray(t * vocab, (t + 1) * vocab).reduce((sum, q) => sum - q * Math.log(q), 0),
  );
  expect(maxAbsError(await values(out.entropy), entropy)).toBeLessThan(5e-6);
  const far = Float64Array.of(...logits.subarray(0, 67), -1e4, 0, 1e4);
  const bent = far.map((l) => cap * Math.tanh(l / cap));
  expect(maxAbsError(await values(softCap(f32(device, [70], far), cap)), bent)).toBeLessThan(1e-6);
});

test("scoreTokens names what does not fit", async () => {
  const device = await testDevice();
  const [hidden, head] = [f32(device, [2, 2], [1, 2, 3, 4]), f32(device, [1, 2], [1, 2])];
  const targets = i32(device, [2], [0, 0]);
  expect(() => scoreTokens(hidden, f32(device, [1, 1], [1]), { targets })).toThrow(/head/);
  expect(() => scoreTokens(hidden, head, { targets: i32(device, [1], [0]) })).toThrow(/targets/);
  expect(() => scoreTokens(hidden, head, { targets, chunkRows: 1 })).toThrow(/chunkRows/);
});
