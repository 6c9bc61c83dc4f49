// A device that is lost or out of memory, at any program of a step: the run goes on in smaller micro-batches to the same result, or
// ends with advice.
import { openDevice } from "@tunesmith/node";
import { TensorError } from "@tunesmith/tensor";
import { beforeAll, describe, expect, test } from "vitest";
import { testDevice } from "./support/device.ts";
import { type Moment, outcomeOn, RUN, runConfig, runInMemory, startDisk } from "./support/run-in-memory.ts";
import type { FaultDisk } from "@tunesmith/testing";

/** effective batch 4 in one micro-batch */
const SETS = ["train.batch_size=4", "train.grad_accumulation=1", "tune.dropout=0.2"];

const STOPS: Readonly<Record<string, (now: Moment) => boolean>> = {
  "the first micro-batch": ({ program, updates }) => program?.startsWith("micro-batch") === true && updates === 0,
  "a micro-batch after a checkpoint": ({ program, updates }) =>
    program?.startsWith("micro-batch") === true && updates === 3,
  "an update": ({ program, updates }) => program === "update" && updates === 4,
  "an evaluation": ({ program, updates }) => program?.startsWith("score") === true && updates === 4,
};

interface Line {
  readonly step: number;
  readonly loss?: number;
  readonly eval_loss?: number;
  readonly tokens?: number;
}

function logOf(disk: FaultDisk): readonly Line[] {
  return (outcomeOn(disk)["metrics.jsonl"] as Line[]).map(({ step, loss, eval_loss, tokens }) => ({
    step,
    ...(loss === undefined ? {} : { loss }),
    ...(eval_loss === undefined ? {} : { eval_loss }),
    ...(tokens === undefined ? {} : { tokens }),
  }));
}

/** Sums run in another order, so losses agree to rounding; all else is the same. */
function expectSameRun(disk: FaultDisk): void {
  const [log, expected] = [logOf(disk), logOf(whole)];
  expect(log.map(({ step, tokens }) => [step, tokens])).toEqual(expected.map(({ step, tokens }) => [step, tokens]));
  for (const [i, { loss, eval_loss }] of expected.entries()) {
    if (loss !== undefined) expect(log[i]!.loss).toBeCloseTo(loss, 4);
    if (eval_loss !== undefined) expect(log[i]!.eval_loss).toBeCloseTo(eval_loss, 4);
  }
}

const whole = startDisk();
beforeAll(async () => void (await runInMemory(whole, runConfig(SETS))));

describe("out of memory", () => {
  /** Has the device report it once, from a moment on. */
  async function failing(
    when: (now: Moment) => boolean,
    times: number,
  ): Promise<{ before: (now: Moment) => void; end: () => void }> {
    const device = await testDevice();
    const check = device.check.bind(device);
    let [due, left] = [false, times];
    device.check = () => {
      check();
      if (!due) return;
      due = false;
      left--;
      throw new TensorError("OUT_OF_MEMORY", "the GPU reported: no memory");
    };
    return { before: (now) => void (left > 0 && when(now) && (due = true)), end: () => void (device.check = check) };
  }

  test.each(Object.keys(STOPS))("at %s: goes on with half of the micro-batch", async (stop) => {
    const disk = startDisk();
    const said: string[] = [];
    const { before, end } = await failing(STOPS[stop]!, 1);
    const document = await runInMemory(disk, runConfig(SETS), { before, say: (line) => said.push(line) }).finally(end);
    expect(document).toMatchObject({ steps: 7, stopped: undefined });
    expect(said).toContainEqual(expect.stringContaining("micro-batches of 2 instead of 4"));
    expect(said.some((line) => line.startsWith("resumed after step"))).toBe(stop !== "the first micro-batch");
    expectSameRun(disk);
    const plan = JSON.parse(new TextDecoder().decode(disk.bytes(`${RUN}/plan.json`))) as object;
    expect(plan).toMatchObject({ micro_batch_size: 2 });
  });

  test("three times: 8, 4, 2, 1; the fourth ends with advice", async () => {
    const sets = ["train.batch_size=8", "train.grad_accumulation=1", "train.max_steps=3"];
    const always = (now: Moment): boolean => now.program === "update" && now.updates % 2 === 1;
    const three = await failing(always, 3);
    const disk = startDisk();
    const said: string[] = [];
    const document = await runInMemory(disk, runConfig(sets), {
      before: three.before,
      say: (line) => said.push(line),
    }).finally(three.end);
    expect(document).toMatchObject({ steps: 3 });
    expect(said.flatMap((line) => /going on with micro-batches of (\d)/.exec(line)?.[1] ?? [])).toEqual([
      "4",
      "2",
      "1",
    ]);
    const four = await failing(always, 4);
    await expect(
      runInMemory(startDisk(), runConfig(sets), { before: four.before }).finally(four.end),
    ).rejects.toMatchObject({
      code: "OUT_OF_MEMORY",
      message: expect.stringContaining("halved 3 times"),
      details: { fix: expect.stringContaining("train.recompute: layer") },
    });
  });
});

describe("a device that is lost", () => {
  test.each(Object.keys(STOPS))("at %s: goes on with another one", async (stop) => {
    const disk = startDisk();
    const device = await openDevice({ validate: true, poison: true });
    let lost = false;
    const document = await runInMemory(disk, runConfig(SETS), {
      device,
      before: (now) => {
        if (lost || !STOPS[stop]!(now)) return;
        lost = true;
        device.gpu.destroy();
      },
    });
    expect(lost).toBe(true);
    expect(document).toMatchObject({ steps: 7, stopped: undefined });
    expectSameRun(disk);
  });
});
