import { expect, test } from "vitest";
import { noiseValues } from "./embedding-noise.ts";

test("noise reaches alpha / √(tokens of the example · dim), and 0 in padding", () => {
  const { noise, noise_seed: seed } = noiseValues(
    { segmentIds: Int32Array.of(0, 0, 0, 1, -1) },
    64,
    { alpha: 5, seed: 2 ** 32 + 3 },
    32,
  );
  const expected = [3, 3, 3, 1].map((tokens) => Math.fround(5 / Math.sqrt(tokens * 32)));
  expect(Array.from(noise as Float32Array).slice(0, 6)).toEqual([...expected, 0, 0]);
  expect([...seed]).toEqual([3, 1]);
});
