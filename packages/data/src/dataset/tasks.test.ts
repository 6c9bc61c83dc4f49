import { describe, expect, test } from "vitest";
import { resolveTasks } from "./tasks.ts";

const entry = (path: string, tasks: string[], settings = {}): { path: string; tasks: string[]; settings: object } => ({
  path,
  tasks,
  settings,
});

describe("resolveTasks", () => {
  test("settings come from entries and from data.tasks, in order of appearance", () => {
    const entries = [
      entry("a", ["math"], { lossWeight: 0.5 }),
      entry("b", ["science", "math"]),
      entry("c", ["math"], { lossWeight: 0.5, samplingWeight: 2 }),
    ];
    expect(resolveTasks(entries, { science: { lossWeight: 2, maxEpochs: 4, samplingWeight: 1 } })).toEqual([
      { name: "math", lossWeight: 0.5, samplingWeight: 2 },
      { name: "science", lossWeight: 2, maxEpochs: 4, samplingWeight: 1 },
    ]);
  });
  test("a name that JavaScript knows is a name like any other", () => {
    expect(resolveTasks([entry("a", ["constructor", "__proto__"])])).toEqual([
      { name: "constructor" },
      { name: "__proto__" },
    ]);
  });
  test.each<[string, () => unknown, string]>([
    [
      "two loss weights",
      () => resolveTasks([entry("a", ["t"], { lossWeight: 1 }), entry("b", ["t"], { lossWeight: 2 })]),
      "TASK_CONFLICT",
    ],
    [
      "an entry against data.tasks",
      () => resolveTasks([entry("a", ["t"], { maxEpochs: 1 })], { t: { maxEpochs: 2 } }),
      "TASK_CONFLICT",
    ],
    ["a named task without rows", () => resolveTasks([entry("a", ["science"])], { sciense: {} }), "TASK_EMPTY"],
    [
      "a sampling weight on a file of several tasks",
      () => resolveTasks([entry("a", ["t", "u"], { samplingWeight: 1 })]),
      "MIXTURE_INVALID",
    ],
    ["a negative loss weight", () => resolveTasks([entry("a", ["t"], { lossWeight: -1 })]), "MIXTURE_INVALID"],
    [
      "a loss weight that is no number",
      () => resolveTasks([entry("a", ["t"], { lossWeight: NaN })]),
      "MIXTURE_INVALID",
    ],
  ])("%s is refused", (_, run, code) => expect(run).toThrow(expect.objectContaining({ code })));
  test("a misspelt name gets a suggestion", () => {
    expect(() => resolveTasks([entry("a", ["science"])], { sciense: {} })).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({ fix: expect.stringContaining("science") as string }) as object,
      }),
    );
  });
});
