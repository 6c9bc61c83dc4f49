import { record } from "@tunesmith/tensor";
import {
  finiteDifference,
  matmul as referenceMatmul,
  maxAbsError,
  relativeMaxError,
  seededNormals,
} from "@tunesmith/testing";
import { describe, expect, test } from "vitest";
import { f32, i32, testDevice, values } from "../../../../tests/support/device.ts";
import { gradients, trainable } from "../tape.ts";
import { linearKl } from "./linear-kl.ts";

const softmax = (logits: Float64Array): Float64Array => {
  const top = Math.max(...logits);
  const e = logits.map((l) => Math.exp(l - top));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
};

interface Problem {
  readonly tokens: number;
  readonly vocab: number;
  readonly dim: number;
  readonly listed: readonly number[];
  readonly weights: Float64Array;
  readonly softCap?: number;
}

/** Σ_t w_t · Σ_i q_i · log(q_i / p_i), from the definition. */
function kl64(
  hidden: ArrayLike<number>,
  head: ArrayLike<number>,
  theirs: { hidden: ArrayLike<number>; head: ArrayLike<number> },
  { tokens, vocab, dim, listed, weights, softCap = Infinity }: Problem,
): { loss: number; each: Float64Array } {
  const logits = (h: ArrayLike<number>, w: ArrayLike<number>): Float64Array => {
    const raw = referenceMatmul(h, w, { m: tokens, n: vocab, k: h.length / tokens }, "NT");
    return softCap === Infinity ? raw : raw.map((l) => softCap * Math.tanh(l / softCap));
  };
  expect(hidden.length).toBe(tokens * dim);
  const [own, other] = [logits(hidden, head), logits(theirs.hidden, theirs.head)];
  const each = new Float64Array(tokens);
  let loss = 0;
  for (const t of listed) {
    const [p, q] = [own, other].map((of) => softmax(of.slice(t * vocab, (t + 1) * vocab)));
    for (let i = 0; i < vocab; i++) each[t]! += q![i]! * Math.log(q![i]! / p![i]!);
    loss += weights[t]! * each[t]!;
  }
  return { loss, each };
}

const rowsOf = ({ tokens, listed }: Problem): number[] => [...listed, ...Array(tokens - listed.length).fill(-1)];

describe.each([
  ["subgroup", undefined],
  ["portable", { subgroups: false, immediates: false, software: false }],
])("%s", (_, facts) => {
  test.each<[string, boolean, number | undefined]>([
    ["frozen head", false, undefined],
    ["trained head", true, undefined],
    ["capped logits, trained head", true, 2],
  ])("%s: loss, divergences and gradients are those of the float64 definition", async (_, trained, softCap) => {
    const device = await testDevice(facts);
    const [tokens, vocab, dim] = [9, 70, 5];
    const problem: Problem = {
      tokens,
      vocab,
      dim,
      listed: [0, 2, 3, 7],
      weights: seededNormals(tokens, 4).map((w) => Math.fround(Math.abs(w) + 0.1)),
      ...(softCap === undefined ? {} : { softCap }),
    };
    const [hidden64, head64] = [seededNormals(tokens * dim, 1), seededNormals(vocab * dim, 2)];
    // the reference has another width
    const theirs = { hidden: seededNormals(tokens * 3, 5), head: seededNormals(vocab * 3, 6) };
    const hidden = trainable(f32(device, [tokens, dim], hidden64));
    const head = f32(device, [vocab, dim], head64);
    if (trained) trainable(head);
    const { loss, divergences } = linearKl(
      hidden,
      head,
      { hidden: f32(device, [tokens, 3], theirs.hidden), head: f32(device, [vocab, 3], theirs.head) },
      { weights: f32(device, [tokens], problem.weights), rows: i32(device, [tokens], rowsOf(problem)), softCap },
    );
    const expected = kl64(hidden64, head64, theirs, problem);
    expect(relativeMaxError(await values(loss), [expected.loss])).toBeLessThan(1e-6);
    expect(maxAbsError(await values(divergences), expected.each)).toBeLessThan(5e-6);
    const [dHidden, dHead] = gradients(loss, f32(device, [1], [0.5]), trained ? [hidden, head] : [hidden]);
    const byHidden = finiteDifference((v) => 0.5 * kl64(v, head64, theirs, problem).loss, hidden64);
    expect(maxAbsError(await values(dHidden!), byHidden)).toBeLessThan(5e-6);
    if (!dHead) return;
    const byHead = finiteDifference((v) => 0.5 * kl64(hidden64, v, theirs, problem).loss, head64);
    expect(maxAbsError(await values(dHead), byHead)).toBeLessThan(5e-6);
  });
});

test("a model does not differ from itself; two chunks of logits are the largest memory; lists of any length", async () => {
  const device = await testDevice();
  const [tokens, vocab, dim] = [130, 40, 8];
  const [hidden64, head64] = [seededNormals(tokens * dim, 1), seededNormals(vocab * dim, 2)];
  const moved = hidden64.map((v) => 0.9 * v);
  const program = record(device, "kl", ({ input }) => {
    const head = input("head", [vocab, dim], "f32");
    const hidden = trainable(input("hidden", [tokens, dim], "f32"));
    const { loss, divergences } = linearKl(
      hidden,
      head,
      { hidden: input("theirs", [tokens, dim], "f32"), head },
      { weights: input("weights", [tokens], "f32"), rows: input("rows", [tokens], "i32"), chunkRows: 64 },
    );
    return { loss, divergences, dHidden: gradients(loss, input("one", [1], "f32"), [hidden])[0]! };
  });
  expect(program.plan.slots.filter((bytes) => bytes >= 4 * 64 * vocab).length).toBeLessThanOrEqual(2);
  for (const [theirs, count] of [
    [hidden64, 130],
    [moved, 130],
    [moved, 65],
    [moved, 0],
  ] as const) {
    const listed = Array.from({ length: count }, (_, t) => t);
    const problem = { tokens, vocab, dim, listed, weights: new Float64Array(tokens).fill(0.125) };
    const out = await program
      .replay({
        head: Float32Array.from(head64),
        hidden: Float32Array.from(hidden64),
        theirs: Float32Array.from(theirs),
        weights: Float32Array.from(problem.weights),
        rows: Int32Array.from(rowsOf(problem)),
        one: Float32Array.of(1),
      })
      .read();
    const expected = kl64(hidden64, head64, { hidden: theirs, head: head64 }, problem);
    expect(Math.abs(out["loss"]![0]! - expected.loss)).toBeLessThan(1e-5);
    expect(maxAbsError(out["divergences"]!, expected.each)).toBeLessThan(2e-6);
    if (theirs === hidden64) expect(Math.max(...Array.from(out["dHidden"]!, Math.abs))).toBe(0);
    else if (count > 0) expect(Math.max(...Array.from(out["dHidden"]!, Math.abs))).toBeGreaterThan(1e-3);
  }
  program.dispose();
});

test("heads of different vocabularies are refused", async () => {
  const device = await testDevice();
  const hidden = f32(device, [1, 2], [1, 1]);
  const given = { weights: f32(device, [1], [1]), rows: i32(device, [1], [0]) };
  const head = (vocab: number) => f32(device, [vocab, 2], Array(2 * vocab).fill(1));
  expect(() => linearKl(hidden, head(3), { hidden, head: head(4) }, given)).toThrow(/vocab|head/);
});
