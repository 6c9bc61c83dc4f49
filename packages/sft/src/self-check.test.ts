// The checks agree on a sound device, and each of them sees a way that computes something else.
import { createSchedule, type Example } from "@tunesmith/data";
import { loadModel, type Model } from "@tunesmith/models";
import { nodeFiles } from "@tunesmith/node";
import { adamw } from "@tunesmith/optim";
import { afterAll, beforeAll, expect, test } from "vitest";
import { testDevice } from "../../../tests/support/device.ts";
import { goldenPath } from "../../../tests/support/goldens.ts";
import { watchPrograms } from "../../../tests/support/watch-programs.ts";
import { requireSelfCheck, type SelfCheck, selfCheck, selfCheckText } from "./self-check.ts";
import { tuneLora } from "./tuning.ts";
import type { Tuning } from "./tuning.ts";

const NAMES = ["packed = unpacked", "accumulated = at once", "recomputed = stored", "replayed = eager"];
const examples: Example[] = [5, 9, 7, 12].map((length, row) => {
  const inputIds = Int32Array.from({ length }, (_, t) => (row * 31 + t * 17) % 300);
  const targets = Int32Array.from(inputIds, (_, t) => inputIds[t + 1] ?? -100);
  const targetWeights = Float32Array.from(targets, (target) => (target === -100 ? 0 : 1));
  return { inputIds, targets, targetWeights, task: row % 2 ? "a" : "b", row };
});

let model: Model;
let tuning: Tuning;
beforeAll(async () => {
  model = await loadModel(await testDevice(), nodeFiles(), goldenPath("models", "llama-untied"));
  const config = { r: 2, alpha: 4, dropout: 0.1, useRslora: false, targetModules: ["q_proj", "down_proj"] };
  tuning = tuneLora(model, config, { seed: 5 });
  for (const name of tuning.store.names)
    if (name.includes("lora_B"))
      tuning.store.write(
        name,
        "values",
        (await tuning.store.read(name, "values")).map((_, i) => 0.1 * Math.sin(i)),
      );
});
afterAll(() => {
  tuning.store.dispose();
  model.dispose();
});

const check = (room = Infinity): Promise<SelfCheck[]> =>
  selfCheck(tuning, {
    examples,
    tasks: ["a", "b"].map((name) => ({ name, lossWeight: name === "a" ? 4 : 1 })),
    schedule: createSchedule({
      tasks: [{ name: "a" }, { name: "b" }],
      exampleTasks: [1, 0, 1, 0],
      seed: 1,
      batchSize: 2,
      gradAccumulation: 2,
      shuffle: false,
      epochs: 1,
    }),
    packing: true,
    objective: "task_mean",
    optimizer: adamw({ betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, maxGradNorm: 1 }),
    room,
  });

test("all ways agree; parameters stay, gradients are zeros", async () => {
  const before = await tuning.store.readAll("values");
  const checks = await check();
  expect(checks.map(({ name, rows, ok }) => [name, rows, ok])).toEqual(
    NAMES.map((name, i) => [name, i === 3 ? 1 : 4, true]),
  );
  expect(checks.at(-1)).toMatchObject({
    loss_difference: 0,
    gradient_difference: 0,
    tolerance: { loss: 0, gradient: 0 },
  });
  requireSelfCheck(checks);
  expect(selfCheckText(checks[0]!)).toMatch(/^packed = unpacked: loss differs by .*e-\d+.* \(4 rows\): ok$/);
  expect(await tuning.store.readAll("values")).toEqual(before);
  for (const gradient of (await tuning.store.readAll("gradients")).values())
    expect(gradient.every((g) => g === 0)).toBe(true);
});

// micro-batches run in turn: packed 2, unpacked 2; cut 4, at once 1; stored 2, recomputed 2; replayed 1
test.each([
  [0, NAMES[0]],
  [3, NAMES[0]],
  [4, NAMES[1]],
  [8, NAMES[1]],
  [10, NAMES[2]],
  [12, NAMES[2]],
  [13, NAMES[3]],
  [2, NAMES[0], NaN],
])("a gradient that is wrong in micro-batch %i fails %s", async (at, name, wrong = 0.01) => {
  let seen = 0;
  const [parameter] = tuning.store.names as [string];
  const unwatch = watchPrograms(model.device, (program) => {
    if (!program.startsWith("micro-batch") || seen++ !== at) return;
    tuning.store.write(
      parameter,
      "gradients",
      new Float32Array(tuning.store.parameter(parameter).values.size).fill(wrong),
    );
  });
  const checks = await check().finally(unwatch);
  expect(seen).toBe(14);
  expect(checks.filter(({ ok }) => !ok).map((failed) => failed.name)).toEqual([name]);
  expect(() => requireSelfCheck(checks)).toThrow(expect.objectContaining({ code: "SELF_CHECK" }));
});

test("without room for the step its shortest rows are compared, and what has no room is said", async () => {
  const checks = await check(1);
  expect(checks.map(({ rows }) => rows)).toEqual([0, 0, 0, 1]);
  expect(selfCheckText(checks[0]!)).toContain("not compared");
});
