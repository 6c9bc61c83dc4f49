// What must not be forgotten: a probe's scores are those of each text alone, and scoring it leaves no trace in training.
import { makeBatch } from "@tunesmith/data";
import type { Example } from "@tunesmith/data";
import { loadModel } from "@tunesmith/models";
import type { Model } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { adamw } from "@tunesmith/optim";
import { guard, probeParts, ScorePrograms, scoreProbe, train, tuneLora } from "@tunesmith/sft";
import type { CounterfactualPair, Probe, TrainEvent, TrainOptions, Tuning } from "@tunesmith/sft";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "./support/device.ts";
import { goldenPath } from "./support/goldens.ts";

const IGNORED = -100;
let model: Model;
let tuned: Tuning;
beforeAll(async () => {
  model = await loadModel(await testDevice(), nodeFiles(), goldenPath("models", "llama-untied"));
  tuned = tuneLora(model, { r: 2, alpha: 4, useRslora: false, targetModules: ["q_proj"] }, { seed: 1 });
});
afterAll(() => {
  tuned.store.dispose();
  model.dispose();
});

/** Random ids whose last `answer` are targets. */
function example(row: number, length: number, answer: number, task = "t"): Example {
  const inputIds = Int32Array.from({ length }, (_, t) => (row * 37 + t * 11 + 5) % 300);
  const targets = inputIds.map((_, t) => (t + 1 < length && t + 1 >= length - answer ? inputIds[t + 1]! : IGNORED));
  return { inputIds, targets, targetWeights: Float32Array.from(targets, (t) => (t === IGNORED ? 0 : 1)), task, row };
}
const pair = (set: string, a: Example, b: Example): CounterfactualPair => ({ set, a, b });
const probe: Probe = {
  examples: [example(1, 9, 4, "calm"), example(2, 5, 1, "wild"), example(3, 12, 7, "calm")],
  pairs: [
    pair("x", example(4, 6, 1), example(5, 8, 3)),
    pair("y", example(6, 7, 2), example(7, 7, 2)),
    pair("x", example(8, 10, 4), example(9, 5, 1)),
  ],
};

/** log p of the targets of one text, alone in its batch. */
async function logProbability(of: Example, programs: ScorePrograms): Promise<number> {
  const { logProbs } = await programs.score(makeBatch([of], { packing: true, tasks: [of.task] }));
  return of.targets.reduce((sum, target, t) => sum + (target === IGNORED ? 0 : logProbs[t]!), 0);
}

describe("scores", () => {
  test.each([1, 2, 5])("%i at a time: those of each text alone", async (batchSize) => {
    const { sets, pairs } = await scoreProbe(tuned, { ...probe, batchSize });
    const programs = new ScorePrograms(tuned);
    const alone = (of: Example): Promise<number> => logProbability(of, programs);
    const [first, , third] = probe.examples;
    expect(sets["calm"]!.targets).toBe(11);
    expect(sets["calm"]!.loss).toBeCloseTo(-((await alone(first!)) + (await alone(third!))) / 11, 5);
    expect(sets["wild"]!.loss).toBeCloseTo(-(await alone(probe.examples[1]!)), 5);
    const gaps: number[] = [];
    for (const { a, b } of probe.pairs) gaps.push((await alone(a)) - (await alone(b)));
    const close = (value: number): unknown => expect.closeTo(value, 4);
    expect(pairs).toEqual({
      x: {
        gap: close((gaps[0]! + gaps[2]!) / 2),
        abs_gap: close((Math.abs(gaps[0]!) + Math.abs(gaps[2]!)) / 2),
        prefers_a: [gaps[0]!, gaps[2]!].filter((gap) => gap > 0).length / 2,
        pairs: 2,
      },
      y: { gap: close(gaps[1]!), abs_gap: close(Math.abs(gaps[1]!)), prefers_a: gaps[1]! > 0 ? 1 : 0, pairs: 1 },
    });
    expect(Math.abs(gaps[0]!)).toBeGreaterThan(1); // sides of unequal length differ by more than rounding
    programs.dispose();
  });
  test("a probe may hold sets only, or pairs only", async () => {
    expect((await scoreProbe(tuned, { ...probe, pairs: [], batchSize: 2 })).pairs).toEqual({});
    expect((await scoreProbe(tuned, { ...probe, examples: [], batchSize: 2 })).sets).toEqual({});
  });
  test("are recorded and planned with the run", () => {
    expect(probeParts({ ...probe, batchSize: 4 }).map(({ examples }) => examples.length)).toEqual([3, 6]);
  });
});

const examples = Array.from({ length: 8 }, (_, row) => example(20 + row, 6, 3));
async function run(
  change: Partial<TrainOptions>,
): Promise<{ events: TrainEvent[]; values: Map<string, Float32Array> }> {
  const own = tuneLora(model, { r: 2, alpha: 4, useRslora: false, targetModules: ["q_proj"] }, { seed: 1 });
  const events: TrainEvent[] = [];
  const loop = train(own, {
    examples,
    tasks: [{ name: "t", lossWeight: 1 }],
    schedule: { totalSteps: 3, stepsPerEpoch: 3, window: () => [[0, 1, 2, 3, 4, 5, 6, 7]], epochAt: () => 0 },
    packing: true,
    objective: "token_mean",
    optimizer: adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, maxGradNorm: 1 }),
    learningRate: () => 0.05,
    now: () => 0,
    ...change,
  });
  const limits = { warn: null, stop: 1e-4, gapWarn: null, gapStop: null };
  for await (const event of change.probe ? guard(loop, { vocabSize: model.config.vocabSize, probe: limits }) : loop)
    events.push(event);
  const values = await own.store.readAll("values");
  own.store.dispose();
  return { events, values };
}

describe("in training", () => {
  const told = (events: readonly TrainEvent[]): string[] => events.map(({ type, step }) => `${type} ${step}`);
  test("it changes no byte", async () => {
    const still = { ...probe, examples: [], every: 1, batchSize: 2 };
    const [plain, probed] = [await run({}), await run({ probe: still })];
    expect(probed.values).toEqual(plain.values);
    expect(told(probed.events)).toEqual(["probe 0", "step 1", "probe 1", "step 2", "probe 2", "step 3", "probe 3"]);
    const steps = (events: TrainEvent[]): unknown[] => events.flatMap((e) => (e.type === "step" ? [e.loss] : []));
    expect(steps(probed.events)).toEqual(steps(plain.events));
  });
  test("a rise beyond the limit ends the run at that step, before its evaluation", async () => {
    const { events } = await run({
      learningRate: (step) => (step === 0 ? 0 : 0.5),
      probe: { ...probe, every: 1, batchSize: 2 },
      evaluation: { examples, every: 1, batchSize: 4 },
    });
    expect(told(events)).toEqual(["probe 0", "eval 0", "step 1", "probe 1", "eval 1", "step 2", "probe 2"]);
    expect(events.at(-1)).toMatchObject({ stop: expect.stringMatching(/^probe (calm|wild): loss /) });
  });
});
