import { openDevice } from "@tunesmith/node";
import { describe, expect, test } from "vitest";
import { addScaled } from "./kernels/elementwise.ts";
import { launch } from "./launch.ts";
import { record } from "./recorder.ts";
import { SubmitCuts } from "./submit-cuts.ts";
import { empty } from "./tensor.ts";

/** A GPU on which launch i takes `times[i]` ms, seen through SubmitCuts; returns the ends of each replay's submits. */
async function replays(times: readonly number[], ms: number, count: number): Promise<number[][]> {
  let clock = 0;
  const cuts = new SubmitCuts({ ms, now: () => clock }, times.length);
  const seen: number[][] = [];
  for (let replay = 0; replay < count; replay++) {
    const ends = [...cuts.next(), times.length];
    seen.push(ends);
    let first = 0;
    for (const end of ends) {
      const took = times.slice(first, end).reduce((a, b) => a + b, 0) + (replay === 0 ? 500 : 0); // compiling
      cuts.submitted(async () => void (clock += took), end);
      await new Promise((resolve) => setImmediate(resolve));
      first = end;
    }
  }
  return seen;
}

describe("SubmitCuts", () => {
  test("measures launch by launch, then fills submits up to the limit; compile time does not count", async () => {
    const seen = await replays([50, 100, 60, 10, 300, 10, 10], 200, 5);
    expect(seen[2]).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(seen[3]).toEqual([2, 4, 5, 7]); // 150, 70, 300 alone, 20
    expect(seen[4]).toEqual(seen[3]);
  });
  test("a short program is one submit", async () => {
    expect((await replays([1, 2, 3], 200, 4))[3]).toEqual([3]);
  });
});

test("a replay in many submits gives the bits of one", async () => {
  const device = await openDevice({ validate: true, submitLimit: { ms: 0, now: () => performance.now() } });
  const program = record(device, "chain", ({ input }) => {
    let y = input("x", [5], "f32");
    const x = y;
    for (let i = 0; i < 4; i++) {
      const out = empty(device, [5]);
      launch(addScaled, { params: { n: 5, scale_a: 2, scale_b: 1 }, reads: { a: y, b: x }, writes: { out } });
      y = out;
    }
    return { y };
  });
  let submits = 0;
  const submit = device.gpu.queue.submit.bind(device.gpu.queue);
  device.gpu.queue.submit = (buffers): undefined => {
    submits++;
    return submit(buffers);
  };
  for (let i = 0; i < 5; i++)
    expect((await program.replay({ x: Float32Array.of(1, 2, 3, 4, 5) }).read())["y"]).toEqual(
      Float32Array.of(31, 62, 93, 124, 155),
    );
  expect(submits).toBe(20); // a limit of 0 ms leaves every launch alone
  program.dispose();
});
