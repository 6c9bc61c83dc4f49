import { describe, expect, test } from "vitest";
import { maxError, readGolden, readJson } from "../../../tests/support/goldens.ts";
import { processLogits, sample } from "./sampling.ts";

interface Case {
  settings: { temperature: number; top_k: number; top_p: number; repetition_penalty?: number };
  survivors: number[];
}
const golden = readJson<{ cases: Record<string, Case>; input_ids: number[][] }>("sampling", "golden.json");
const tensors = readGolden("sampling", "processed.safetensors");
const unsupported = ["min_p", "typical_p", "no_repeat_ngram_size", "min_new_tokens"];
const cases = Object.entries(golden.cases).filter(([, c]) => !unsupported.some((key) => key in c.settings));

describe.each(cases)("%s", (name, { settings, survivors }) => {
  test.each([0, 1])("row %i equals transformers", (row) => {
    const logits = tensors.get("logits")!.values.subarray(row * 64, row * 64 + 64);
    const out = processLogits(logits, golden.input_ids[row]!, {
      temperature: settings.temperature,
      topK: settings.top_k,
      topP: settings.top_p,
      repetitionPenalty: settings.repetition_penalty ?? 1,
    });
    const expected = tensors.get(name)!.values.subarray(row * 64, row * 64 + 64);
    const alive = (v: ArrayLike<number>): number[] =>
      Array.from(v, (x, i) => (x === -Infinity ? -1 : i)).filter((i) => i >= 0);
    expect(alive(out)).toHaveLength(survivors[row]!);
    // among equal logits the sort may keep either: compare the surviving values
    const sorted = (v: Float64Array): number[] =>
      alive(v)
        .map((i) => v[i]!)
        .sort((a, b) => a - b);
    expect(maxError(sorted(out), sorted(expected))).toBeLessThan(1e-5);
  });
});

describe("sample", () => {
  const logits = Float32Array.of(0, 1, 2, 3);
  const options = { temperature: 1, topK: 0, topP: 1, repetitionPenalty: 1 };

  test("temperature 0 takes the first of the largest", () => {
    expect(sample(Float32Array.of(1, 3, 3), [], { ...options, temperature: 0 }, { seed: 0, row: 0, step: 0 })).toBe(1);
  });

  test("frequencies follow the softmax", () => {
    const counts = [0, 0, 0, 0];
    const n = 4000;
    for (let step = 0; step < n; step++) counts[sample(logits, [], options, { seed: 7, row: 0, step })]!++;
    const p = [0, 1, 2, 3].map((v) => Math.exp(v));
    const sum = p.reduce((a, b) => a + b, 0);
    for (const [i, c] of counts.entries()) expect(Math.abs(c / n - p[i]! / sum)).toBeLessThan(0.03);
  });

  test("is a pure function of seed, row and step", () => {
    const draw = (seed: number, row: number): string =>
      Array.from({ length: 40 }, (_, step) => sample(logits, [], options, { seed, row, step })).join("");
    expect(draw(1, 0)).toBe(draw(1, 0));
    expect(draw(1, 0)).not.toBe(draw(2, 0));
    expect(draw(1, 0)).not.toBe(draw(1, 1));
  });
});
