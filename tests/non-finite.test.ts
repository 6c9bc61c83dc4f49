// A NaN or Inf, wherever it comes from, stops a run before the weights change, and is traced to a tensor, a micro-batch and rows.
import { loadModel } from "@tunesmith/models";
import type { Model } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { adamw } from "@tunesmith/optim";
import { SftError, train, tuneLora } from "@tunesmith/sft";
import type { TrainOptions, Tuning } from "@tunesmith/sft";
import type { Tensor, Weight } from "@tunesmith/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "./support/device.ts";
import { goldenPath } from "./support/goldens.ts";
import { watchPrograms } from "./support/watch-programs.ts";

const CONFIG = { r: 2, alpha: 4, useRslora: false, targetModules: ["q_proj", "down_proj"] };
const IGNORED = -100;
const BAD = [NaN, Infinity, -Infinity];
/** updates before the one that must not happen */
const BEFORE = 2;
/** the only example with this token; it is in the second micro-batch of every step */
const MARKED = { row: 13, token: 299 };

let model: Model;
beforeAll(async () => {
  model = await loadModel(await testDevice(), nodeFiles(), goldenPath("models", "llama-untied"));
});
afterAll(() => model.dispose());

const examples = Array.from({ length: 4 }, (_, i) => {
  const inputIds = Int32Array.from({ length: 6 + i }, (_, t) => (i * 31 + t * 17) % 290);
  if (i === 3) inputIds[0] = MARKED.token;
  const targets = Int32Array.from(inputIds, (_, t) => inputIds[t + 1] ?? IGNORED);
  const targetWeights = Float32Array.from(targets, (target) => (target === IGNORED ? 0 : 1));
  return { inputIds, targets, targetWeights, task: "a", row: 10 + i };
});

interface Snapshot {
  readonly values: Map<string, Float32Array>;
  readonly m: Map<string, Float32Array>;
  readonly v: Map<string, Float32Array>;
}

async function snapshot({ store }: Tuning): Promise<Snapshot> {
  const [values, m, v] = await Promise.all((["values", "m", "v"] as const).map((part) => store.readAll(part)));
  return { values: values!, m: m!, v: v! };
}

interface Injection {
  readonly change?: Partial<TrainOptions>;
  /** called before the micro-batches of the step, and before its update */
  readonly into?: (tuning: Tuning, at: "micro-batch" | "update") => void;
}

/** Trains with something bad in the third step, and checks that its update and all after it did not happen. */
async function stopsAt({ change = {}, into }: Injection): Promise<SftError> {
  const tuning = tuneLora(model, CONFIG, { seed: 5 });
  for (const name of tuning.store.names)
    if (name.includes("lora_B"))
      tuning.store.write(
        name,
        "values",
        (await tuning.store.read(name, "values")).map((_, i) => 0.1 * Math.sin(i)),
      );
  let updates = 0;
  let injected = false;
  let before: Promise<Snapshot> | undefined;
  const unwatch = watchPrograms(model.device, (program) => {
    if (updates === BEFORE && program.startsWith("micro-batch") && !injected) {
      injected = true;
      into?.(tuning, "micro-batch");
    }
    if (program !== "update") return;
    if (updates++ !== BEFORE) return;
    into?.(tuning, "update");
    before = snapshot(tuning);
  });
  const steps: number[] = [];
  try {
    const loop = train(tuning, {
      examples,
      tasks: [{ name: "a", lossWeight: 1 }],
      schedule: {
        totalSteps: 6,
        stepsPerEpoch: 6,
        window: () => [
          [0, 1],
          [2, 3],
        ],
        epochAt: () => 0,
      },
      packing: true,
      objective: "token_mean",
      optimizer: adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, maxGradNorm: 1 }),
      learningRate: () => 1e-3,
      boundaryEvery: BEFORE, // between them two steps are on their way at a time
      now: () => performance.now(),
      ...change,
    });
    for await (const event of loop) if (event.type === "boundary") steps.push(event.step);
    throw new Error("the run came to its end");
  } catch (error) {
    unwatch();
    expect(error).toBeInstanceOf(SftError);
    expect(steps.at(-1)).toBe(BEFORE);
    expect(await snapshot(tuning)).toEqual(await before!);
    return error as SftError;
  } finally {
    unwatch();
    tuning.store.dispose();
  }
}

/** Changes elements of a tensor on the device from `start`. */
function poke(tensor: Tensor, values: Float32Array, start: number, bad: number): void {
  const changed = values.slice();
  changed[start] = bad;
  tensor.write(changed);
}

describe.each(BAD)("%s", (bad) => {
  /** a bad weight of a target of the marked row, in the third step only */
  const badExamples = (row: number): Partial<TrainOptions> => {
    const changed = examples.map((example) =>
      example.row === row ? { ...example, targetWeights: example.targetWeights.with(1, bad) } : example,
    );
    return {
      examples: [...examples, ...changed],
      schedule: {
        totalSteps: 6,
        stepsPerEpoch: 6,
        window: (step) =>
          [
            [0, 1],
            [2, 3],
          ].map((rows) => rows.map((at) => (step === BEFORE ? at + 4 : at))),
        epochAt: () => 0,
      },
    };
  };

  test.each([10, 12, 13])("in the data: weight of a target of row %i", async (row) => {
    const error = await stopsAt({ change: badExamples(row) });
    expect(error).toMatchObject({ code: "NON_FINITE", message: expect.stringMatching(/^step 3: /) });
    expect(error.message).toMatch(/bad tensor is .* → /);
    // the objective divides by the sum of all weights of the step
    expect(error.message).toMatch(/micro-batch [12] of 2/);
  });

  test.each(["q_proj.lora_A", "q_proj.lora_B", "down_proj.lora_A"])("in the gradient of %s", async (path) => {
    const error = await stopsAt({
      into: ({ store }, at) => {
        const name = store.names.find((found) => found.includes(path))!;
        if (at === "update")
          store.write(name, "gradients", new Float32Array(store.parameter(name).values.size).fill(bad));
      },
    });
    expect(error).toMatchObject({ code: "NON_FINITE", message: expect.stringMatching(/^step 3: /) });
    expect(error.message).toMatch(new RegExp(`the gradient of .*${path}`));
    expect(error.message).toContain("rows 10, 11, 12, 13");
  });

  test.each(["q_proj.lora_A", "down_proj.lora_B"])("in the parameter %s", async (path) => {
    const error = await stopsAt({
      into: ({ store }, at) => {
        const name = store.names.find((found) => found.includes(path))!;
        if (at === "micro-batch")
          poke(store.parameter(name).values, new Float32Array(store.parameter(name).values.size), 3, bad);
      },
    });
    expect(error).toMatchObject({ code: "NON_FINITE", message: expect.stringMatching(/^step 3: /) });
    expect(error.message).toMatch(new RegExp(`the parameter .*${path}.*micro-batch 1 of 2`));
  });

  test.each(["model.embed_tokens.weight", "lm_head.weight"])("in %s of the base", async (name) => {
    const { tensor } = (model.parameters.get(name) as Weight).shards[0]!;
    const values = (await tensor.read()) as Float32Array;
    const [, width] = tensor.shape as [number, number];
    try {
      const error = await stopsAt({
        into: (_, at) => {
          if (at === "micro-batch") poke(tensor, values, MARKED.token * width, bad);
        },
      });
      expect(error).toMatchObject({ code: "NON_FINITE", message: expect.stringMatching(/^step 3: /) });
      expect(error.message).toContain(`${name} of the base`);
      // a row of the embedding spoils the rows that use it, a row of the head every logit
      if (name.includes("embed")) expect(error.message).toContain(`micro-batch 2 of 2, row ${MARKED.row}`);
    } finally {
      tensor.write(values);
    }
  });
});

test("an update that makes a parameter infinite is found before the state is saved", async () => {
  const tuning = tuneLora(model, CONFIG, { seed: 5 });
  const steps: number[] = [];
  const run = async (): Promise<void> => {
    const loop = train(tuning, {
      examples,
      tasks: [{ name: "a", lossWeight: 1 }],
      schedule: { totalSteps: 4, stepsPerEpoch: 4, window: () => [[0, 1, 2, 3]], epochAt: () => 0 },
      packing: true,
      objective: "token_mean",
      optimizer: adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01, maxGradNorm: 1 }),
      learningRate: (step) => (step === 2 ? 3e38 : 1e-3),
      boundaryEvery: 1,
      now: () => performance.now(),
    });
    for await (const event of loop) if (event.type === "boundary") steps.push(event.step);
  };
  await expect(run()).rejects.toMatchObject({
    code: "NON_FINITE",
    message: expect.stringMatching(/step 3 left a NaN or Inf in .*lora_/),
  });
  expect(steps).toEqual([1, 2]);
  tuning.store.dispose();
});
