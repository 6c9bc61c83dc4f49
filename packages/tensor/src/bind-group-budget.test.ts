import { describe, expect, test } from "vitest";
import { f32, testDevice } from "../../../tests/support/device.ts";
import { BindGroupBudget } from "./bind-group-budget.ts";
import { scaleBy } from "./kernels/elementwise.ts";
import { launch } from "./launch.ts";
import type { Program } from "./program.ts";
import { record } from "./recorder.ts";
import { empty } from "./tensor.ts";

describe("the budget of bind groups", () => {
  test("who was not used for longest gives its own up; one that needs more than there are still gets them", () => {
    const dropped: string[] = [];
    const [a, b, c] = ["a", "b", "c"].map((name) => ({ dropGroups: () => void dropped.push(name) })) as [
      { dropGroups(): void },
      { dropGroups(): void },
      { dropGroups(): void },
    ];
    const budget = new BindGroupBudget(10);
    budget.use(a, 4);
    budget.use(b, 4);
    budget.use(a, 4);
    expect([budget.count, dropped]).toEqual([8, []]);
    budget.use(c, 5);
    expect([budget.count, dropped]).toEqual([9, ["b"]]);
    budget.forget(a);
    expect(budget.count).toBe(5);
    budget.use(b, 12);
    expect([budget.count, dropped]).toEqual([12, ["b", "c"]]);
    budget.forget(b);
    budget.forget(b);
    expect(budget.count).toBe(0);
  });
});

// as training does with many buckets of tokens: each has a program of its own, and they come in any order
test("programs of many shapes hold no more bind groups than the device allows, and compute the same", async () => {
  const device = await testDevice({ maxBindGroups: 60 });
  const { gpu } = device;
  let made = 0;
  const create = gpu.createBindGroup;
  gpu.createBindGroup = (descriptor) => {
    made++;
    return create.call(gpu, descriptor);
  };
  const LAUNCHES = 11;
  const programs = new Map<number, Program>();
  const programOf = (size: number): Program => {
    let program = programs.get(size);
    if (!program) {
      program = record(device, `shape ${size}`, ({ input }) => {
        let y = input("x", [size], "f32");
        for (let i = 0; i < LAUNCHES; i++) {
          const out = empty(device, [size]);
          launch(scaleBy, { params: { n: size, factor: i + 1 }, reads: { x: y }, writes: { out } });
          y = out;
        }
        return { y };
      });
      programs.set(size, program);
    }
    return program;
  };
  const sizes = Array.from({ length: 40 }, (_, i) => 300 - i); // the largest first: no slot grows later
  const factor = Array.from({ length: LAUNCHES }, (_, i) => i + 1).reduce((a, b) => a * b);
  for (let round = 0; round < 3; round++)
    for (const size of sizes) {
      const { y } = await programOf(size)
        .replay({ x: new Float32Array(size).fill(2) })
        .read();
      expect([...y!]).toEqual(Array.from({ length: size }, () => 2 * factor));
      expect(device.bindGroups.count).toBeLessThanOrEqual(60);
    }
  expect(made).toBe(3 * 40 * LAUNCHES);

  // what fits stays: steady replays make none
  const few = sizes.slice(0, 5).map(programOf);
  const replayAll = async (): Promise<void> => {
    for (const program of few) await program.replay({ x: new Float32Array(program.inputs.get("x")!.size) }).read();
  };
  await replayAll();
  made = 0;
  await replayAll();
  expect(made).toBe(0);
  for (const program of programs.values()) program.dispose();
  expect(device.bindGroups.count).toBe(0);
  expect([...(await f32(device, [2], [1, 2]).read())]).toEqual([1, 2]);
  delete (gpu as { createBindGroup?: unknown }).createBindGroup;
});
