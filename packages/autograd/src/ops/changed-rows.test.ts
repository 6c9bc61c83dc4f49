// Changes to some rows of a table must be what the same changes in the table itself are. Needs a WebGPU device.
import { beforeAll, describe, expect, test } from "vitest";
import { asWeight, empty, type Device, type Tensor } from "@tunesmith/tensor";
import { maxAbsError, seededIntegers, seededNormals } from "@tunesmith/testing";
import { f32, i32, testDevice, values } from "../../../../tests/support/device.ts";
import { gradients, trainable } from "../tape.ts";
import { changedEmbedding, headLogits } from "./changed-rows.ts";
import { embedding } from "./embedding.ts";
import { linearCrossEntropy } from "./linear-cross-entropy.ts";
import { scoreTokens } from "./score-tokens.ts";

const [TOKENS, VOCAB, DIM] = [150, 70, 6];
const IDS = [61, 0, 17];
const table = seededNormals(VOCAB * DIM, 1);
const changes = seededNormals(IDS.length * DIM, 2);
const hidden = seededNormals(TOKENS * DIM, 3);
const changedTable = table.slice();
for (const [j, id] of IDS.entries()) for (let i = 0; i < DIM; i++) changedTable[id * DIM + i]! += changes[j * DIM + i]!;
const rowsOf = (matrix: ArrayLike<number>): number[] =>
  IDS.flatMap((id) => Array.from({ length: DIM }, (_, i) => matrix[id * DIM + i]!));
// every third token has no target; one of the changed rows is a target, one is not
const targets = seededIntegers(TOKENS, 4, 0, VOCAB).map((id, t) => (t % 3 === 0 ? -100 : t % 7 === 0 ? 17 : id));
const rows = new Int32Array(TOKENS).fill(-1);
rows.set([...targets.keys()].filter((t) => targets[t]! >= 0));
const weights = seededNormals(TOKENS, 5).map(Math.abs);

describe.each([
  ["default", undefined],
  ["portable", { subgroups: false, immediates: false, software: false }],
])("%s", (_, facts) => {
  let device: Device;
  beforeAll(async () => {
    device = await testDevice(facts);
  });
  const matrix = (data: ArrayLike<number>): Tensor<"f32"> => f32(device, [data.length / DIM, DIM], data);
  const list = (ids: readonly number[]): Tensor<"i32"> => i32(device, [ids.length], ids);

  test("embedding: rows and the gradient of the changes", async () => {
    const ids = list([5, 17, 61, 17, 3, 0, 17]);
    const d = trainable(matrix(changes));
    const out = changedEmbedding(asWeight(matrix(table)), ids, { ids: list(IDS), changes: d });
    const whole = matrix(changedTable);
    trainable(whole);
    const expected = embedding(whole, ids);
    expect(maxAbsError(await values(out), await values(expected))).toBeLessThan(1e-6);
    const dOut = matrix(seededNormals(7 * DIM, 6));
    const [found] = gradients(out, dOut, [d]);
    const [dWhole] = gradients(expected, dOut, [whole]);
    expect(maxAbsError(await values(found!), rowsOf(await values(dWhole!)))).toBeLessThan(1e-6);
  });

  const given = (): Parameters<typeof linearCrossEntropy>[2] => ({
    targets: list([...targets]),
    weights: f32(device, [TOKENS], weights),
    rows: list([...rows]),
    chunkRows: 64,
  });
  test.each<[string, boolean, boolean]>([
    ["a frozen head", true, false],
    ["a frozen head and nothing below that trains", false, false],
    ["a head that trains as well", true, true],
  ])("cross-entropy, %s: losses and gradients", async (_name, below, above) => {
    const d = trainable(matrix(changes));
    const x = matrix(hidden);
    const weight = matrix(table);
    if (below) trainable(x);
    if (above) trainable(weight);
    const changed = { ids: list(IDS), changes: d };
    const { loss, losses } = linearCrossEntropy(x, { weight: asWeight(weight), changed }, given());
    const whole = matrix(changedTable);
    trainable(whole);
    const again = trainable(matrix(hidden));
    const expected = linearCrossEntropy(again, whole, given());
    expect(maxAbsError(await values(losses), await values(expected.losses))).toBeLessThan(5e-6);
    const factor = f32(device, [1], [0.5]);
    const [dAgain, dWhole] = await Promise.all(gradients(expected.loss, factor, [again, whole]).map((t) => values(t!)));
    const wanted = [d, ...(below ? [x] : []), ...(above ? [weight] : [])];
    const found = await Promise.all(gradients(loss, factor, wanted).map((t) => values(t!)));
    expect(maxAbsError(found[0]!, rowsOf(dWhole!))).toBeLessThan(1e-5);
    if (below) expect(maxAbsError(found[1]!, dAgain!)).toBeLessThan(1e-5);
    if (above) expect(maxAbsError(found[2]!, dWhole!)).toBeLessThan(1e-5);
  });

  test("scores and logits", async () => {
    const head = { weight: asWeight(matrix(table)), changed: { ids: list(IDS), changes: matrix(changes) } };
    const options = { targets: list([...targets]), chunkRows: 64 };
    const [found, expected] = [head, matrix(changedTable)].map((one) => scoreTokens(matrix(hidden), one, options));
    for (const key of ["logProbs", "entropy"] as const)
      expect(maxAbsError(await values(found![key]), await values(expected![key]))).toBeLessThan(1e-5);
    const [a, b] = [empty(device, [TOKENS, VOCAB]), empty(device, [TOKENS, VOCAB])];
    headLogits(matrix(hidden), head, a);
    headLogits(matrix(hidden), { weight: asWeight(matrix(changedTable)) }, b);
    expect(maxAbsError(await values(a), await values(b))).toBeLessThan(1e-5);
  });
});
