import { beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "@tunesmith/node";
import { record, state, upload } from "@tunesmith/tensor";
import type { Device, Tensor } from "@tunesmith/tensor";
import {
  finiteDifference,
  matmul as referenceMatmul,
  maxAbsError,
  relativeMaxError,
  seededIntegers,
  seededNormals,
} from "@tunesmith/testing";
import * as reference from "@tunesmith/testing";
import { f32, i32, testDevice, values } from "../../../../tests/support/device.ts";
import { bothModes, given, givenInts } from "../../../../tests/support/modes.ts";
import { backward, gradients, trainable } from "../tape.ts";
import { embedding } from "./embedding.ts";
import { linearCrossEntropy } from "./linear-cross-entropy.ts";

/** A case: which tokens have a target, and the list of them as a data loader writes it. */
function problem(
  tokens: number,
  vocab: number,
  dim: number,
  supervised: (token: number) => boolean,
): {
  hidden: Float64Array;
  head: Float64Array;
  targets: Int32Array;
  weights: Float64Array;
  rows: Int32Array;
} {
  const targets = seededIntegers(tokens, 3, 0, vocab).map((id, t) => (supervised(t) ? id : -100));
  const rows = new Int32Array(tokens).fill(-1);
  rows.set([...targets.keys()].filter((t) => targets[t]! >= 0));
  return {
    hidden: seededNormals(tokens * dim, 1),
    head: seededNormals(vocab * dim, 2),
    targets,
    // a weight where there is no target must not matter
    weights: seededNormals(tokens, 4).map((w) => Math.fround(Math.abs(w) + 0.1)),
    rows,
  };
}

const loss64 = (
  hidden: ArrayLike<number>,
  head: ArrayLike<number>,
  p: ReturnType<typeof problem>,
  dim: number,
  cap: number = Infinity,
): { loss: number; losses: Float64Array } => {
  const sizes = { m: p.targets.length, n: head.length / dim, k: dim };
  const logits = referenceMatmul(hidden, head, sizes, "NT");
  const capped = cap === Infinity ? logits : logits.map((l) => cap * Math.tanh(l / cap));
  return reference.crossEntropy(capped, p.targets, p.weights);
};

/** Gradients of the float64 loss in closed form; a test below compares the form with finite differences. */
function gradients64(p: ReturnType<typeof problem>, dim: number): { dHidden: Float64Array; dHead: Float64Array } {
  const tokens = p.targets.length;
  const vocab = p.head.length / dim;
  const logits = referenceMatmul(p.hidden, p.head, { m: tokens, n: vocab, k: dim }, "NT");
  const shares = reference.softmax(logits, vocab);
  const d = shares.map((share, i) => {
    const token = Math.floor(i / vocab);
    const target = p.targets[token]!;
    return target < 0 ? 0 : p.weights[token]! * (share - (i % vocab === target ? 1 : 0));
  });
  return {
    dHidden: referenceMatmul(d, p.head, { m: tokens, n: dim, k: vocab }, "NN"),
    dHead: referenceMatmul(d, p.hidden, { m: vocab, n: dim, k: tokens }, "TN"),
  };
}

test("the closed form of the reference gradients equals finite differences", () => {
  const p = problem(5, 7, 3, (t) => t % 2 === 0);
  const { dHidden, dHead } = gradients64(p, 3);
  const byHidden = finiteDifference((v) => loss64(v, p.head, p, 3).loss, p.hidden);
  const byHead = finiteDifference((v) => loss64(p.hidden, v, p, 3).loss, p.head);
  expect(maxAbsError(dHidden, byHidden)).toBeLessThan(1e-8);
  expect(maxAbsError(dHead, byHead)).toBeLessThan(1e-8);
});

test.each([
  ["frozen", false, undefined],
  ["trained", true, undefined],
  ["trained, portable", true, { subgroups: false, immediates: false, software: false }],
])("capped logits with a %s head: loss and gradients", async (_, trained, facts) => {
  const [tokens, vocab, dim, cap] = [9, 70, 5, 1.5];
  const p = problem(tokens, vocab, dim, (t) => t % 3 !== 1);
  const device = await testDevice(facts);
  const hidden = trainable(f32(device, [tokens, dim], p.hidden));
  const head = f32(device, [vocab, dim], p.head);
  if (trained) trainable(head);
  const { loss, losses } = linearCrossEntropy(hidden, head, {
    targets: i32(device, [tokens], p.targets),
    weights: f32(device, [tokens], p.weights),
    rows: i32(device, [tokens], p.rows),
    softCap: cap,
  });
  const expected = loss64(p.hidden, p.head, p, dim, cap);
  expect(relativeMaxError(await values(loss), [expected.loss])).toBeLessThan(1e-6);
  expect(maxAbsError(await values(losses), expected.losses)).toBeLessThan(5e-6);
  const [dHidden, dHead] = gradients(loss, f32(device, [1], [0.5]), trained ? [hidden, head] : [hidden]);
  const byHidden = finiteDifference((v) => 0.5 * loss64(v, p.head, p, dim, cap).loss, p.hidden);
  expect(maxAbsError(await values(dHidden!), byHidden)).toBeLessThan(5e-6);
  if (!trained) return;
  const byHead = finiteDifference((v) => 0.5 * loss64(p.hidden, v, p, dim, cap).loss, p.head);
  expect(maxAbsError(await values(dHead!), byHead)).toBeLessThan(5e-6);
});

const portable = { subgroups: false, immediates: false, software: false };
const sizes: [tokens: number, vocab: number, dim: number, every: number][] = [
  [1, 1, 1, 1], // one token, one id: loss 0
  [1, 5, 3, 1],
  [63, 65, 17, 3],
  [64, 64, 64, 1],
  [65, 63, 33, 2], // two chunks, the second empty
  [200, 300, 20, 2], // four chunks: full, partly full, two empty
  [150, 31, 5, 1], // every token: three chunks
];
describe.each([
  { name: "default", facts: undefined, sizes },
  { name: "portable", facts: portable, sizes: sizes.slice(5, 6) },
])("linearCrossEntropy, $name", ({ facts, sizes }) => {
  describe.each(sizes)("%i tokens, vocabulary %i, dim %i, every %i. token", (...size) => {
    const [tokens, vocab, dim, every] = size;
    const p = problem(tokens, vocab, dim, (t) => t % every === 0);
    const inputs = {
      hidden: given([tokens, dim], p.hidden),
      head: given([vocab, dim], p.head),
      targets: givenInts([tokens], p.targets),
      weights: given([tokens], p.weights),
      rows: givenInts([tokens], p.rows),
      dloss: given([1], [0.75]),
    };
    const run = (t: Record<keyof typeof inputs, Tensor>): Record<"loss" | "losses", Tensor<"f32">> => {
      const { loss, losses } = linearCrossEntropy(t.hidden, t.head as Tensor<"f32">, {
        targets: t.targets as Tensor<"i32">,
        weights: t.weights as Tensor<"f32">,
        rows: t.rows as Tensor<"i32">,
        chunkRows: 64,
      });
      return { loss, losses };
    };
    const expected = loss64(p.hidden, p.head, p, dim);
    const { dHidden, dHead } = gradients64(p, dim);
    const zeroRows = (d: ArrayLike<number>): boolean =>
      p.targets.every((target, t) =>
        target >= 0 ? true : Array.from({ length: dim }, (_, i) => d[t * dim + i]).every((v) => v === 0),
      );

    test("loss alone", async () => {
      const out = await bothModes(await testDevice(facts), inputs, (t) => ({ ...run(t) }));
      expect(relativeMaxError(out.loss, [expected.loss], 1)).toBeLessThan(1e-5);
      expect(maxAbsError(out.losses, expected.losses)).toBeLessThan(2e-5);
    });

    test("frozen head: loss and dHidden", async () => {
      const out = await bothModes(await testDevice(facts), inputs, (t) => {
        trainable(t.hidden);
        const result = run(t);
        return { ...result, dHidden: gradients(result.loss, t.dloss, [t.hidden])[0]! };
      });
      expect(relativeMaxError(out.loss, [expected.loss], 1)).toBeLessThan(1e-5);
      expect(maxAbsError(out.losses, expected.losses)).toBeLessThan(2e-5);
      expect(
        relativeMaxError(
          out.dHidden,
          dHidden.map((d) => 0.75 * d),
          1,
        ),
      ).toBeLessThan(1e-5);
      expect(zeroRows(out.dHidden)).toBe(true);
    });

    test("trainable head: dHidden and dHead", async () => {
      const out = await bothModes(await testDevice(facts), inputs, (t) => {
        trainable(t.hidden);
        trainable(t.head);
        const [dh, dw] = gradients(run(t).loss, t.dloss, [t.hidden, t.head]);
        return { dHidden: dh!, dHead: dw! };
      });
      expect(
        relativeMaxError(
          out.dHidden,
          dHidden.map((d) => 0.75 * d),
          1,
        ),
      ).toBeLessThan(1e-5);
      expect(
        relativeMaxError(
          out.dHead,
          dHead.map((d) => 0.75 * d),
          1,
        ),
      ).toBeLessThan(1e-5);
      expect(zeroRows(out.dHidden)).toBe(true);
    });
  });
});

describe("linearCrossEntropy", () => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice();
  });
  const [tokens, vocab, dim] = [130, 40, 8];
  const p = problem(tokens, vocab, dim, (t) => t < 100);
  const uploaded = (
    q: typeof p,
  ): {
    targets: Tensor<"i32">;
    weights: Tensor<"f32">;
    rows: Tensor<"i32">;
    chunkRows: number;
  } => ({
    targets: i32(device, [tokens], q.targets),
    weights: f32(device, [tokens], q.weights),
    rows: i32(device, [tokens], q.rows),
    chunkRows: 64,
  });

  test("a sharded, packed head gives the loss of the whole one", async () => {
    const words = Uint16Array.from(new Uint32Array(Float32Array.from(p.head).buffer), (w) => w >>> 16);
    const exact = Float64Array.from(new Float32Array(Uint32Array.from(words, (w) => w << 16).buffer));
    const shard = (firstRow: number, rows: number) => ({
      tensor: upload(device, [rows, dim], "bf16", words.slice(firstRow * dim, (firstRow + rows) * dim)),
      firstRow,
      rows,
    });
    const head = {
      shape: [vocab, dim] as const,
      format: "bf16" as const,
      shards: [shard(0, 7), shard(7, 33)],
    };
    const hidden = trainable(f32(device, [tokens, dim], p.hidden));
    const { loss } = linearCrossEntropy(hidden, head, uploaded(p));
    const q = { ...p, head: exact };
    expect(relativeMaxError(await values(loss), [loss64(q.hidden, exact, q, dim).loss])).toBeLessThan(1e-5);
    const [d] = gradients(loss, f32(device, [1], [1]), [hidden]);
    expect(relativeMaxError(await values(d!), gradients64(q, dim).dHidden)).toBeLessThan(1e-5);
  });

  test("a tied table collects both gradients in one sink, shard by shard", async () => {
    const cut = 15;
    const ids = seededIntegers(tokens, 9, 0, vocab);
    const shards = [
      [0, cut],
      [cut, vocab],
    ].map(([firstRow, end]) => {
      const shape = [end! - firstRow!, dim];
      const options = { shape, dtype: "f32", category: "weights", label: "shard" } as const;
      const tensor = state(device, {
        ...options,
        data: Float32Array.from(p.head.subarray(firstRow! * dim, end! * dim)),
      });
      const sink = state(device, { ...options, data: new Float32Array(shape[0]! * dim).fill(1) });
      trainable(tensor, sink);
      return { tensor, sink, firstRow: firstRow!, rows: shape[0]! };
    });
    const table = { shape: [vocab, dim] as const, format: "f32" as const, shards };
    const hidden = embedding(table, i32(device, [tokens], ids));
    const { loss } = linearCrossEntropy(hidden, table, uploaded(p));
    backward(loss, f32(device, [1], [1]));

    // dHead, and dHidden scattered to the rows that were looked up
    const q = { ...p, hidden: reference.embedding(p.head, ids, dim) };
    const { dHidden, dHead: expected } = gradients64(q, dim);
    for (const [i, d] of dHidden.entries()) expected[ids[Math.floor(i / dim)]! * dim + (i % dim)]! += d;
    const got = Float64Array.from(
      (await Promise.all(shards.map((s) => values(s.sink)))).flatMap((v) => [...v]),
      (v) => v - 1,
    );
    expect(relativeMaxError(got, expected)).toBeLessThan(1e-5);
    for (const { tensor, sink } of shards) {
      tensor.dispose();
      sink.dispose();
    }
  });

  test("one program serves every number of targets, and empty chunks run no workgroup", async () => {
    const program = record(device, "loss", ({ input }) => {
      const hidden = trainable(input("hidden", [tokens, dim], "f32"));
      const head = input("head", [vocab, dim], "f32");
      const { loss, losses } = linearCrossEntropy(hidden, head, {
        targets: input("targets", [tokens], "i32"),
        weights: input("weights", [tokens], "f32"),
        rows: input("rows", [tokens], "i32"),
        chunkRows: 64,
      });
      const one = input("one", [1], "f32");
      return { loss, losses, dHidden: gradients(loss, one, [hidden])[0]! };
    });
    // every launch that a chunk owns is gated: what is left is per program, not per chunk
    const plain = program.plan.launches.filter((l) => !l.indirect).map((l) => l.variant.kernel.label);
    expect(new Set(plain)).toEqual(
      new Set(["fill", "chunk_groups", "dot_partials", "sum_partials", "scale_by_scalar(x=out)"]),
    );
    expect(program.plan.slots[0]).toBe(4 * 64 * vocab); // the largest buffer: one chunk of logits
    for (const count of [130, 64, 65, 1, 0]) {
      const q = problem(tokens, vocab, dim, (t) => t < count);
      const out = await program
        .replay({
          hidden: Float32Array.from(q.hidden),
          head: Float32Array.from(q.head),
          targets: q.targets,
          weights: Float32Array.from(q.weights),
          rows: q.rows,
          one: Float32Array.of(1),
        })
        .read();
      const expected = loss64(q.hidden, q.head, q, dim);
      expect(relativeMaxError(out["loss"]!, [expected.loss], 1)).toBeLessThan(1e-5);
      expect(maxAbsError(out["losses"]!, expected.losses)).toBeLessThan(2e-5);
      expect(relativeMaxError(out["dHidden"]!, gradients64(q, dim).dHidden, 1)).toBeLessThan(1e-5);
    }
    program.dispose();
  });

  test("debug mode does not look at what an empty chunk left unwritten", async () => {
    const debug = await openDevice({ debug: true, poison: true });
    const q = problem(tokens, vocab, dim, (t) => t < 10); // the second and third chunk are empty
    const hidden = trainable(f32(debug, [tokens, dim], q.hidden));
    const { loss } = linearCrossEntropy(hidden, f32(debug, [vocab, dim], q.head), {
      targets: i32(debug, [tokens], q.targets),
      weights: f32(debug, [tokens], q.weights),
      rows: i32(debug, [tokens], q.rows),
      chunkRows: 64,
    });
    gradients(loss, f32(debug, [1], [1]), [hidden]);
    expect(await debug.finite!.first()).toBeUndefined();
    q.hidden[0] = NaN;
    linearCrossEntropy(f32(debug, [tokens, dim], q.hidden), f32(debug, [vocab, dim], q.head), {
      targets: i32(debug, [tokens], q.targets),
      weights: f32(debug, [tokens], q.weights),
      rows: i32(debug, [tokens], q.rows),
      chunkRows: 64,
    });
    expect(await debug.finite!.first()).toMatch(/^gather_rows.* → out/);
  });

  test("large logits do not overflow", async () => {
    const hidden = trainable(f32(device, [2, 1], [1000, -1000]));
    const { loss, losses } = linearCrossEntropy(hidden, f32(device, [3, 1], [1, 0.5, -1]), {
      targets: i32(device, [2], [0, 0]),
      weights: f32(device, [2], [1, 1]),
      rows: i32(device, [2], [0, 1]),
    });
    expect(await values(losses)).toEqual(Float64Array.of(0, 2000));
    const [d] = gradients(loss, f32(device, [1], [1]), [hidden]);
    expect(await values(d!)).toEqual(Float64Array.of(0, -2));
  });

  test("a target outside the vocabulary counts as none", async () => {
    const targets = Int32Array.from(p.targets);
    targets[3] = vocab;
    targets[4] = 2 ** 31 - 1;
    targets[5] = -(2 ** 31);
    const ignoring = { ...p, targets: targets.map((id) => (id >= 0 && id < vocab ? id : -100)) };
    const hidden = trainable(f32(device, [tokens, dim], p.hidden));
    const head = f32(device, [vocab, dim], p.head);
    const { loss, losses } = linearCrossEntropy(hidden, head, uploaded({ ...p, targets }));
    const expected = loss64(p.hidden, p.head, ignoring, dim);
    expect(maxAbsError(await values(losses), expected.losses)).toBeLessThan(2e-5);
    const [d] = gradients(loss, f32(device, [1], [1]), [hidden]);
    expect(relativeMaxError(await values(d!), gradients64(ignoring, dim).dHidden)).toBeLessThan(1e-5);
  });

  test("shapes that do not fit are refused by name", () => {
    const hidden = f32(device, [tokens, dim], p.hidden);
    const head = f32(device, [vocab, dim], p.head);
    const good = uploaded(p);
    const rows = i32(device, [1], [0]);
    expect(() => linearCrossEntropy(hidden, f32(device, [2, 2], [1, 2, 3, 4]), good)).toThrow(/head/);
    expect(() => linearCrossEntropy(hidden, head, { ...good, rows })).toThrow(/rows/);
    expect(() => linearCrossEntropy(hidden, head, { ...good, chunkRows: 65 })).toThrow(/chunkRows/);
  });
});
