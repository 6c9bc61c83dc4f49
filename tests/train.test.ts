// Properties of the training loop that no golden shows: how a step is cut does not matter, evaluation leaves no trace, a NaN
// stops before the weights change.
import { linearPaths, loadModel } from "@tunesmith/models";
import type { Model } from "@tunesmith/models";
import { loraShapes } from "@tunesmith/lora";
import { nodeFiles, openDevice } from "@tunesmith/node";
import { adamw } from "@tunesmith/optim";
import { ScorePrograms, train, tuneLora } from "@tunesmith/sft";
import type { LossTerms, Replay, StepEvent, TrainEvent, TrainOptions, Tuning } from "@tunesmith/sft";
import type { Device, Tensor } from "@tunesmith/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "./support/device.ts";
import { goldenPath, maxError } from "./support/goldens.ts";

const CONFIG = { r: 4, alpha: 8, useRslora: false, targetModules: ["q_proj", "down_proj"] };
const IGNORED = -100;

let device: Device;
let model: Model;
beforeAll(async () => {
  device = await testDevice();
  model = await loadModel(device, nodeFiles(), goldenPath("models", "llama-untied"));
});
afterAll(() => model.dispose());

/** Examples of very unequal answers: where a mean of means and a token mean differ most. Task a is short, task b long. */
const examples = Array.from({ length: 16 }, (_, row) => {
  const length = 4 + ((row * 7) % 13);
  const answer = row % 2 === 0 ? 1 : length - 2;
  const inputIds = Int32Array.from({ length }, (_, t) => (row * 31 + t * 17) % 300);
  const targets = Int32Array.from({ length }, (_, t) =>
    t >= length - 1 - answer && t + 1 < length ? inputIds[t + 1]! : IGNORED,
  );
  const targetWeights = Float32Array.from(targets, (t) => (t === IGNORED ? 0 : 1));
  return { inputIds, targets, targetWeights, task: row % 2 === 0 ? "a" : "b", row };
});

interface Run {
  readonly events: TrainEvent[];
  readonly steps: StepEvent[];
  readonly values: Map<string, Float32Array>;
}

/** An adapter at a fixed start. */
function started(on: Model = model, { dropout = 0, seed = 5, loraPlusRatio = 1 } = {}): ReturnType<typeof tuneLora> {
  const tuned = tuneLora(on, { ...CONFIG, dropout }, { seed, loraPlusRatio });
  // B starts at zero; give it values, so that A has a gradient from the first step
  for (const [name, shape] of loraShapes(CONFIG, [...tuned.adapter.modules.keys()], linearPaths(on.config)))
    if (name.includes("lora_B"))
      tuned.store.write(
        name,
        "values",
        Float32Array.from({ length: shape[0]! * shape[1]! }, (_, i) => 0.1 * Math.sin(i)),
      );
  return tuned;
}

/** Three steps of eight examples from one fixed start, cut into micro-batches as `cut` says. */
async function run(
  cut: number[],
  change: Partial<TrainOptions> = {},
  on: Model = model,
  { dropout = 0, seed = 5, loraPlusRatio = 1 } = {},
): Promise<Run> {
  const tuned = started(on, { dropout, seed, loraPlusRatio });
  if (change.terms?.l2ToStart !== undefined) tuned.store.keepStart();
  const window = (step: number): number[][] => {
    let at = (step * 8) % 16;
    return cut.map((n) => Array.from({ length: n }, () => at++ % 16));
  };
  const events: TrainEvent[] = [];
  try {
    const loop = train(tuned, {
      examples,
      tasks: [
        { name: "a", lossWeight: 1 },
        { name: "b", lossWeight: 1 },
      ],
      schedule: { totalSteps: 3, stepsPerEpoch: 3, window, epochAt: () => 0 },
      packing: true,
      objective: "token_mean",
      optimizer: adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, maxGradNorm: 1 }),
      learningRate: () => 1e-3,
      now: () => performance.now(),
      ...change,
    });
    for await (const event of loop) events.push(event);
    const steps = events.filter((event) => event.type === "step");
    return { events, steps, values: await tuned.store.readAll("values") };
  } finally {
    tuned.store.dispose();
  }
}

function expectSame(a: Run, b: Run, tolerance: number): void {
  expect(a.steps).toHaveLength(b.steps.length);
  for (const [i, step] of a.steps.entries()) {
    expect(Math.abs(step.loss - b.steps[i]!.loss)).toBeLessThanOrEqual(tolerance);
    expect(Math.abs(step.grad_norm - b.steps[i]!.grad_norm)).toBeLessThanOrEqual(tolerance * 10);
  }
  for (const [name, values] of a.values) expect(maxError(values, b.values.get(name)!)).toBeLessThanOrEqual(tolerance);
}

describe("a step is one objective, however it is cut", () => {
  test.each(["token_mean", "task_mean"] as const)(
    "%s: (8), (2,2,2,2), eight ones, and (5,3) agree; padded = packed",
    async (objective) => {
      const tasks = [
        { name: "a", lossWeight: 0.5 },
        { name: "b", lossWeight: 3 },
      ];
      const whole = await run([8], { objective, tasks });
      for (const cut of [
        [2, 2, 2, 2],
        [1, 1, 1, 1, 1, 1, 1, 1],
        [5, 3],
      ])
        expectSame(await run(cut, { objective, tasks }), whole, 1e-5);
      expectSame(await run([8], { objective, tasks, packing: false }), whole, 1e-5);
    },
  );

  test.each<[string, LossTerms]>([
    ["label smoothing", { labelSmoothing: 0.2 }],
    ["z-loss", { zLoss: 0.01 }],
  ])("with %s a step does not depend on its cut; loss has it, the tasks' and evaluation have not", async (_, terms) => {
    const still = { learningRate: () => 0, evaluation: { examples: examples.slice(0, 5), every: 1, batchSize: 2 } };
    const whole = await run([8], { terms });
    expectSame(await run([5, 3], { terms, objective: "token_mean" }), whole, 1e-5);
    expectSame(await run([2, 2, 2, 2], { terms }), whole, 1e-5);
    expectSame(await run([8], { terms, packing: false, memory: { recompute: "layer", chunkRows: 64 } }), whole, 1e-5);
    const [plain, termed] = [await run([8], still), await run([8], { ...still, terms })];
    for (const [i, event] of termed.events.entries()) {
      const other = plain.events[i]!;
      if (event.type === "eval") expect(event).toEqual(other);
      if (event.type !== "step" || other.type !== "step") continue;
      expect(event.tasks).toEqual(other.tasks);
      expect(Math.abs(event.loss - other.loss)).toBeGreaterThan(0.01);
    }
    expect(whole.values).not.toEqual((await run([8])).values);
  });

  test("the two objectives differ, and λ counts in task_mean only", async () => {
    const loss = async (objective: "token_mean" | "task_mean", lambda: number): Promise<number> => {
      const tasks = [
        { name: "a", lossWeight: lambda },
        { name: "b", lossWeight: 1 },
      ];
      return (await run([8], { objective, tasks })).steps[0]!.loss;
    };
    expect(await loss("token_mean", 1)).toBe(await loss("token_mean", 2));
    const [one, two] = [await loss("task_mean", 1), await loss("task_mean", 2)];
    const { tasks } = (await run([8])).steps[0]!;
    expect(one).toBeCloseTo(tasks["a"]!.loss + tasks["b"]!.loss, 4);
    expect(two).toBeCloseTo(2 * tasks["a"]!.loss + tasks["b"]!.loss, 4);
  });
});

describe("LoRA dropout", () => {
  const dropout = { dropout: 0.3 };
  test("masks do not depend on how a step is cut or packed, change from step to step, and vanish in evaluation", async () => {
    const whole = await run([8], {}, model, dropout);
    for (const cut of [
      [2, 2, 2, 2],
      [1, 1, 1, 1, 1, 1, 1, 1],
      [5, 3],
    ])
      expectSame(await run(cut, {}, model, dropout), whole, 1e-5);
    expectSame(await run([8], { packing: false }, model, dropout), whole, 1e-5);
    expectSame(await run([8], { memory: { recompute: "layer" } }, model, dropout), whole, 0);
    const plain = await run([8]);
    expect(Math.abs(whole.steps[0]!.loss - plain.steps[0]!.loss)).toBeGreaterThan(1e-4);
    const still = { learningRate: () => 0 };
    const [first, , third] = (await run([8], still, model, dropout)).steps; // steps 1 and 3 hold the same examples
    expect(Math.abs(first!.loss - third!.loss)).toBeGreaterThan(1e-4);
    const evaluation = { examples: examples.slice(0, 5), every: 1, batchSize: 2 };
    const losses = (evaluated: Run): number[] =>
      evaluated.events.flatMap((event) => (event.type === "eval" ? [event.result.loss] : []));
    expect(losses(await run([8], { ...still, evaluation }, model, dropout))).toEqual(
      losses(await run([8], { ...still, evaluation })),
    );
  });
  test("the masks of a step are those of its seed", async () => {
    const { steps } = await run([8], {}, model, { ...dropout, seed: 6 });
    expect(Math.abs(steps[0]!.loss - (await run([8], {}, model, dropout)).steps[0]!.loss)).toBeGreaterThan(1e-4);
  });
});

describe("NEFTune", () => {
  const terms = { noise: { alpha: 5, seed: 5 } };
  const both = { dropout: 0.3 };
  test("noise does not depend on how a step is cut or packed, changes from step to step, and vanishes in evaluation", async () => {
    const whole = await run([8], { terms });
    for (const cut of [
      [2, 2, 2, 2],
      [1, 1, 1, 1, 1, 1, 1, 1],
      [5, 3],
    ])
      expectSame(await run(cut, { terms }), whole, 1e-5);
    expectSame(await run([8], { terms, packing: false }), whole, 1e-5);
    expectSame(await run([8], { terms, memory: { recompute: "layer" } }), whole, 0);
    expectSame(await run([5, 3], { terms }, model, both), await run([8], { terms }, model, both), 1e-5);
    const evaluation = { examples: examples.slice(0, 5), every: 1, batchSize: 2 };
    const still = { learningRate: () => 0, evaluation };
    const [plain, noisy, other] = [
      await run([8], still),
      await run([8], { ...still, terms }),
      await run([8], { ...still, terms: { noise: { alpha: 5, seed: 6 } } }),
    ];
    const evals = ({ events }: Run): TrainEvent[] => events.filter((event) => event.type === "eval");
    expect(evals(noisy)).toEqual(evals(plain));
    const apart = (a: StepEvent, b: StepEvent): void => expect(Math.abs(a.loss - b.loss)).toBeGreaterThan(1e-4);
    apart(noisy.steps[0]!, plain.steps[0]!);
    apart(noisy.steps[0]!, noisy.steps[2]!); // steps 1 and 3 hold the same examples
    apart(noisy.steps[0]!, other.steps[0]!);
  });
});

test("l2ToStart is added once per step however it is cut, told apart, and holds the parameters back", async () => {
  const terms = { l2ToStart: 2 };
  const whole = await run([8], { terms });
  for (const cut of [[5, 3], Array<number>(8).fill(1)]) expectSame(await run(cut, { terms }), whole, 1e-5);
  const [plain, start] = [await run([8]), await run([8], { learningRate: () => 0 })];
  const penalties = whole.steps.map((step) => step.penalties!.l2_to_start!);
  expect(penalties[0]).toBe(0);
  expect(penalties[1]).toBeGreaterThan(0);
  expect(plain.steps[0]!.penalties).toBeUndefined();
  expect(whole.steps[0]!.loss).toBe(plain.steps[0]!.loss);
  const distance = ({ values }: Run): number =>
    [...values]
      .flatMap(([name, x]) => Array.from(x, (v, i) => (v - start.values.get(name)![i]!) ** 2))
      .reduce((a, b) => a + b);
  expect(distance(await run([8], { terms: { l2ToStart: 1e4 } }))).toBeLessThan(0.6 * distance(plain));
});

describe("KL to the base on replayed rows", () => {
  const replay = (strength: number, own: Partial<Replay> = {}): { replay: Replay } => {
    const rows = examples.slice(3, 9).map((example) => ({ ...example, task: "replayed" }));
    const window = (step: number, size = 3): number[][] => {
      const drawn = [0, 1, 2].map((i) => (3 * step + i) % 6);
      return size >= 3 ? [drawn] : drawn.map((row) => [row]);
    };
    const schedule = { totalSteps: 3, stepsPerEpoch: 2, window, epochAt: () => 0 };
    return { replay: { examples: rows, schedule, strength, ...own } };
  };
  test("is told apart, does not depend on how rows are cut, and holds the model to the base", async () => {
    const whole = await run([8], replay(0.5));
    expectSame(await run([5, 3], { ...replay(0.5), memory: { microBatchSize: 1 } }), whole, 1e-5);
    expectSame(await run([8], { ...replay(0.5), memory: { recompute: "layer", chunkRows: 64 } }), whole, 1e-5);
    const plain = await run([8]);
    const kl = ({ steps }: Run): number[] => steps.map((step) => step.penalties!.kl_to_base!);
    expect(kl(whole).every((penalty) => penalty > 1e-4)).toBe(true);
    expect(whole.steps[0]!.loss).toBe(plain.steps[0]!.loss);
    expect(whole.steps[0]!.grad_norm).not.toBe(plain.steps[0]!.grad_norm);
    const strongly = { learningRate: () => 0.01 };
    const [held, free] = [
      await run([8], { ...strongly, ...replay(30) }),
      await run([8], { ...strongly, ...replay(1e-6) }),
    ];
    // the third step replays the rows of the first
    expect(kl(held)[2]! / 30).toBeLessThan(0.7 * (kl(free)[2]! / 1e-6));
  });

  test("a NaN from replayed rows stops the run", async () => {
    const { replay: one } = replay(1);
    const bad = one.examples.map((example) => ({
      ...example,
      targetWeights: example.targetWeights.map((w) => (w === 0 ? 0 : Infinity)),
    }));
    await expect(run([8], replay(1, { examples: bad }))).rejects.toMatchObject({ code: "NON_FINITE" });
  });

  test("is the mean over replayed targets of what two scorings of the model give", async () => {
    const { replay: one } = replay(1, {
      schedule: { totalSteps: 3, stepsPerEpoch: 1, window: () => [[0]], epochAt: () => 0 },
    });
    const inputIds = one.examples[0]!.inputIds.slice(0, 3);
    const targets = Int32Array.of(IGNORED, IGNORED, 7);
    const only = { ...one.examples[0]!, inputIds, targets, targetWeights: Float32Array.of(0, 0, 1) };
    const { steps } = await run([8], { replay: { ...one, examples: [only] }, learningRate: () => 0 });
    // every token of the vocabulary behind a copy of the row of its own, all in one sequence
    const ofCopies = (value: (t: number, copy: number) => number): Int32Array =>
      Int32Array.from({ length: 900 }, (_, i) => value(i % 3, Math.floor(i / 3)));
    const logs = async (adapter: Tuning["adapter"]): Promise<Float32Array> => {
      const programs = new ScorePrograms({ model, adapter });
      const { logProbs } = await programs.score({
        inputIds: ofCopies((t) => inputIds[t]!),
        positionIds: ofCopies((t) => t),
        segmentIds: ofCopies((_, copy) => copy),
        targets: ofCopies((t, copy) => (t === 2 ? copy : IGNORED)),
      });
      programs.dispose();
      return logProbs.filter((_, i) => i % 3 === 2);
    };
    const tuned = started();
    const [q, p] = [await logs(undefined), await logs(tuned.adapter)];
    const expected = q.reduce((sum, log, id) => sum + Math.exp(log) * (log - p[id]!), 0);
    tuned.store.dispose();
    expect(Math.abs(steps[0]!.penalties!.kl_to_base! / expected - 1)).toBeLessThan(1e-4);
  });
});

test("LoRA+: B moves at its own rate, A as ever", async () => {
  const [plain, plus] = [await run([8]), await run([8], {}, model, { loraPlusRatio: 4 })];
  const start = await run([8], { learningRate: () => 0 });
  const firstStep = { learningRate: (step: number) => (step === 0 ? 1e-3 : 0) };
  const [one, four] = [await run([8], firstStep), await run([8], firstStep, model, { loraPlusRatio: 4 })];
  expect(plus.steps.map(({ loss }) => loss)).not.toEqual(plain.steps.map(({ loss }) => loss));
  for (const [name, values] of one.values) {
    const before = start.values.get(name)!;
    const ratio = name.includes("lora_B") ? 4 : 1;
    const moved = values.map((value, i) => before[i]! + ratio * (value - before[i]!));
    expect(maxError(four.values.get(name)!, moved)).toBeLessThan(1e-6);
  }
});

test("two runs give the same bytes, and evaluation in between changes none of them", async () => {
  const first = await run([4, 4]);
  expectSame(await run([4, 4]), first, 0);
  const evaluated = await run([4, 4], { evaluation: { examples: examples.slice(0, 5), every: 1, batchSize: 2 } });
  expectSame(evaluated, first, 0);
  expect(evaluated.events.map((event) => `${event.type} ${event.step}`)).toEqual([
    "eval 0",
    "step 1",
    "eval 1",
    "step 2",
    "eval 2",
    "step 3",
    "eval 3",
  ]);
});

test("an abort ends the run at a step boundary", async () => {
  const controller = new AbortController();
  const { steps } = await run([8], {
    signal: controller.signal,
    learningRate: (step) => {
      if (step === 1) controller.abort(); // while the second step is being made
      return 1e-3;
    },
  });
  expect(steps.map((step) => step.step)).toEqual([1, 2]);
});

describe("a NaN", () => {
  const poisoned = examples.map((example, row) =>
    row === 9 ? { ...example, targetWeights: example.targetWeights.map((w) => (w === 0 ? 0 : 1e38 * 1e38)) } : example,
  );

  test("stops the run, names the step, and the weights stay those of the step before", async () => {
    const window = (step: number): number[][] => [Array.from({ length: 8 }, (_, i) => (step * 8 + i) % 16)];
    const attempt = (rows: typeof examples, totalSteps: number): [Tuning, AsyncGenerator<TrainEvent>] => {
      const tuned = tuneLora(model, CONFIG, { seed: 5 });
      const loop = train(tuned, {
        examples: rows,
        tasks: [
          { name: "a", lossWeight: 1 },
          { name: "b", lossWeight: 1 },
        ],
        schedule: { totalSteps, stepsPerEpoch: totalSteps, window, epochAt: () => 0 },
        packing: true,
        objective: "task_mean",
        optimizer: adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, maxGradNorm: 1 }),
        learningRate: () => 1e-3,
        now: () => performance.now(),
      });
      return [tuned, loop];
    };
    const seen: number[] = [];
    const [stopped, failing] = attempt(poisoned, 6); // row 9 comes in the second step
    await expect(
      (async () => {
        for await (const event of failing) seen.push(event.step);
      })(),
    ).rejects.toMatchObject({ code: "NON_FINITE", message: expect.stringMatching(/^step 2: /) });
    expect(seen).toEqual([1]);

    const [healthy, single] = attempt(examples, 1);
    for await (const event of single) expect(event.step).toBe(1);
    expect(await stopped.store.readAll("values")).toEqual(await healthy.store.readAll("values"));
    stopped.store.dispose();
    healthy.store.dispose();
  });

  test("debug mode names the kernel that made it", async () => {
    const debug = await openDevice({ debug: true });
    const own = await loadModel(debug, nodeFiles(), goldenPath("models", "llama-untied"));
    const broken = own.parameters.get("model.layers.1.post_attention_layernorm.weight") as Tensor;
    broken.write(Float32Array.from({ length: broken.size }, (_, i) => (i === 3 ? NaN : 1)));
    await expect(run([8], {}, own)).rejects.toMatchObject({
      message: expect.stringContaining("first seen in add_norm_forward"),
    });
    own.dispose();
  });
});
