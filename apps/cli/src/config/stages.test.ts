// How a stage's config comes about. Needs no model and no device.
import { describe, expect, test } from "vitest";
import { folderWith } from "../../../../tests/support/cli.ts";
import { loadRuns } from "./stages.ts";

const FILE = `model: m
output: run
seed: 7
data: {max_length: 64, packing: false, eval_split: 0.1, train: [{path: a.jsonl}]}
tune: {r: 4}
train: {epochs: 2, warmup_ratio: 0.1, batch_size: 4}
stages:
  - name: domain
  - name: instruct
    data: {eval: [{path: e.jsonl}], train: [{path: b.jsonl}]}
    tune: {method: full}
    train: {max_steps: 5, warmup_steps: 1}
`;
const load = (text: string, ...sets: string[]): ReturnType<typeof loadRuns> => {
  const cwd = folderWith({ "run.yaml": text });
  return loadRuns("run.yaml", { cwd, sets });
};

describe("a stage", () => {
  test("is the file with its sections laid over; tune and probe are its own", async () => {
    const [domain, instruct] = await load(FILE);
    expect(domain!.config).toMatchObject({ seed: 7, tune: { r: 4 }, train: { epochs: 2, batch_size: 4 } });
    expect(domain!.config.output).toMatch(/run.domain$/);
    const { data, tune, train } = instruct!.config;
    expect(data).toMatchObject({
      max_length: 64,
      packing: false,
      train: [{ path: expect.stringMatching(/b\.jsonl$/) }],
    });
    expect([data.eval!.length, data.eval_split]).toEqual([1, undefined]); // the one says what the other would
    expect(tune).toMatchObject({ method: "full", r: 16 });
    expect(train).toMatchObject({ max_steps: 5, warmup_steps: 1, batch_size: 4 });
    expect([train.epochs, train.warmup_ratio]).toEqual([undefined, undefined]);
    expect([domain!.stage!.adapter, instruct!.stage!.adapter]).toEqual(["none", "merge"]);
  });
  test("that trains an adapter on has its rank, and a rate of its own", async () => {
    const text = FILE.replace("tune: {method: full}", "tune: {dropout: 0.5}");
    const [, instruct] = await load(text, "stages.1.train.learning_rate=0.5");
    expect(instruct!.config).toMatchObject({ tune: { r: 4, dropout: 0.5 }, train: { learning_rate: 0.5 } });
    expect(instruct!.stage).toMatchObject({
      name: "instruct",
      adapter: "continue",
      optimizerState: "new",
    });
  });
  test("errors name the line of the stage, or of the file", async () => {
    const failure = (text: string, ...sets: string[]): Promise<object> =>
      load(text, ...sets).then(
        () => ({}),
        (error: { toJSON(): object }) => error.toJSON(),
      );
    expect(await failure(FILE.replace("max_steps: 5", "max_steps: 0"))).toMatchObject({
      line: 12,
      message: expect.stringContaining("`stages[1].train.max_steps`"),
    });
    expect(await failure(FILE.replace("batch_size: 4", "batch_size: 0"))).toMatchObject({
      line: 6,
      message: expect.stringContaining("`train.batch_size`"),
    });
    expect(await failure(FILE, "stages.1.data.packing=7")).toMatchObject({
      message: expect.stringContaining("--set stages.1.data.packing=7"),
    });
    expect(await failure(FILE.replace(", train: [{path: a.jsonl}]", ""))).toMatchObject({
      code: "CONFIG_KEY_MISSING",
      message: expect.stringContaining("`data.train`"),
    });
  });
});
