import { describe, expect, test } from "vitest";
import type { Example } from "../tokenize/example.ts";
import { makeBatch } from "./batch.ts";

const example = (task: string, inputIds: number[], targets: number[], weights?: number[]): Example => ({
  inputIds: Int32Array.from(inputIds),
  targets: Int32Array.from(targets),
  targetWeights: Float32Array.from(weights ?? targets.map((t) => (t === -100 ? 0 : 1))),
  task,
  row: 0,
});
const a = example("a", [5, 6, 7], [-100, 7, -100]);
const b = example("b", [8, 9], [9, -100], [0.5, 0]);
const tasks = ["a", "b", "c"];

describe("makeBatch", () => {
  test("packing true: end to end, positions restart, segments differ", () => {
    const batch = makeBatch([a, b], { packing: true, tasks });
    expect({ ...batch }).toEqual({
      inputIds: Int32Array.of(5, 6, 7, 8, 9),
      targets: Int32Array.of(-100, 7, -100, 9, -100),
      targetWeights: Float32Array.of(0, 1, 0, 0.5, 0),
      positionIds: Int32Array.of(0, 1, 2, 0, 1),
      segmentIds: Int32Array.of(0, 0, 0, 1, 1),
      taskIds: Int32Array.of(-1, 0, -1, 1, -1),
      targetRows: Int32Array.of(1, 3),
      taskTargets: Int32Array.of(1, 1, 0),
      taskWeights: Float64Array.of(1, 0.5, 0),
      tokens: 5,
      paddedTokens: 0,
    });
  });
  test("packing false: padded on the right to the longest, padding is no segment and no target", () => {
    const batch = makeBatch([b, a, b], { packing: false, tasks });
    expect([...batch.segmentIds]).toEqual([0, 0, -1, 1, 1, 1, 2, 2, -1]);
    expect([...batch.targets]).toEqual([9, -100, -100, -100, 7, -100, 9, -100, -100]);
    expect([...batch.positionIds]).toEqual([0, 1, 0, 0, 1, 2, 0, 1, 0]);
    expect(batch).toMatchObject({ tokens: 7, paddedTokens: 2 });
    expect([...batch.taskTargets]).toEqual([1, 2, 0]);
  });
  test("padding and several segments inside an example keep their places", () => {
    const own: Example = { ...a, positionIds: Int32Array.of(0, 0, 1), segmentIds: Int32Array.of(0, 1, 1) };
    const padded: Example = { ...a, segmentIds: Int32Array.of(-1, 0, 0) };
    const batch = makeBatch([own, padded, b], { packing: true, tasks });
    expect([...batch.segmentIds]).toEqual([0, 1, 1, -1, 2, 2, 3, 3]);
    expect([...batch.positionIds]).toEqual([0, 0, 1, 0, 1, 2, 0, 1]);
    expect(batch).toMatchObject({ tokens: 7, paddedTokens: 1 });
  });
  test("no examples make an empty batch", () => {
    expect(makeBatch([], { packing: false, tasks }).inputIds.length).toBe(0);
  });
  test("bins are laid out as their examples are", () => {
    expect(makeBatch([a, b], { packing: "bins", tasks })).toEqual(makeBatch([a, b], { packing: true, tasks }));
  });
  test("a foreign task is refused", () => {
    expect(() => makeBatch([a], { packing: true, tasks: ["b"] })).toThrow(
      expect.objectContaining({ code: "TASK_EMPTY" }),
    );
  });
});
