// Against PEFT 0.21.2: fixtures/goldens/lora-algebra/weighted.safetensors holds two random adapters (r 4, alpha 8; and r 4,
// alpha 4 with rsLoRA) on two layers, and what add_weighted_adapter makes of them with the weights 0.7 and −0.4.
import { maxAbsError, readGolden, seededNormals } from "@tunesmith/testing";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { peftNames } from "../adapter.ts";
import type { LoraConfig } from "../config.ts";
import { multiply } from "../linalg/matrix.ts";
import type { PeftAdapter } from "../peft.ts";
import { combineAdapters, type CombineOptions, resizeAdapter } from "./combine.ts";
import { diffAdapters } from "./diff.ts";
import { updatesOf } from "./modules.ts";

const golden = readGolden(
  readFileSync(new URL("../../../../fixtures/goldens/lora-algebra/weighted.safetensors", import.meta.url)),
);
const PATHS = ["q_proj", "v_proj"] as const;

function adapter(
  config: Omit<LoraConfig, "targetModules">,
  tensor: (path: string, side: "A" | "B") => GoldenLike,
): PeftAdapter {
  const shapes = new Map<string, readonly number[]>();
  const values = new Map<string, Float32Array>();
  for (const path of PATHS)
    for (const side of ["A", "B"] as const) {
      const name = peftNames(path)[side === "A" ? "a" : "b"];
      const { shape, values: data } = tensor(path, side);
      shapes.set(name, shape);
      values.set(name, Float32Array.from(data));
    }
  return { config: { ...config, targetModules: [...PATHS] }, baseModel: "base", targets: PATHS, shapes, values };
}
interface GoldenLike {
  readonly shape: readonly number[];
  readonly values: ArrayLike<number>;
}
const one = adapter({ r: 4, alpha: 8, useRslora: false }, (path, side) => golden.get(`one.${path}.${side}`)!);
const two = adapter({ r: 4, alpha: 4, useRslora: true }, (path, side) => golden.get(`two.${path}.${side}`)!);
const WEIGHTS = [0.7, -0.4];

/** ΔW of a module. */
function delta(of: PeftAdapter, path: string): Float64Array {
  const { a, b, scale } = updatesOf(of).get(path)!;
  return multiply(b, a).data.map((value) => value * scale);
}

describe("combining, as PEFT does", () => {
  test.each<[string, Omit<CombineOptions, "weights">]>([
    ["cat", { type: "cat" }],
    ["linear", { type: "linear" }],
    ["ties", { type: "ties", density: 0.5 }],
    ["magnitude_prune", { type: "magnitude_prune", density: 0.5 }],
  ])("%s: A, B and the update", (name, options) => {
    const combined = combineAdapters([one, two], { ...options, weights: WEIGHTS });
    for (const path of PATHS) {
      const { a, b, scale } = updatesOf(combined).get(path)!;
      expect(scale).toBe(1);
      const wanted = golden.get(`${name}.${path}.delta`)!.values;
      expect(maxAbsError(delta(combined, path), wanted)).toBeLessThan(2e-6);
      if (name === "cat") continue; // PEFT's stacking of A and B is one of many
      expect(maxAbsError(a.data, golden.get(`${name}.${path}.A`)!.values)).toBeLessThan(1e-6);
      expect(maxAbsError(b.data, golden.get(`${name}.${path}.B`)!.values)).toBeLessThan(1e-6);
    }
  });
  test("svd: the update of the truncated sum (its A and B have free signs)", () => {
    const combined = combineAdapters([one, two], { type: "svd", rank: 3, weights: WEIGHTS });
    for (const path of PATHS)
      expect(maxAbsError(delta(combined, path), golden.get(`svd.${path}.delta`)!.values)).toBeLessThan(5e-6);
  });
  test("cat is the exact weighted sum", () => {
    const combined = combineAdapters([one, two], { type: "cat", weights: WEIGHTS });
    for (const path of PATHS) {
      const [x, y] = [delta(one, path), delta(two, path)];
      expect(
        maxAbsError(
          delta(combined, path),
          x.map((value, i) => 0.7 * value - 0.4 * y[i]!),
        ),
      ).toBeLessThan(1e-6);
    }
  });
  test("DARE keeps its density, rescales what stays, and is a function of the seed", () => {
    const of = (seed: number): Float64Array =>
      updatesOf(combineAdapters([one], { type: "dare_linear", density: 0.5, seed, weights: [1] })).get("q_proj")!.a
        .data;
    const plain = updatesOf(combineAdapters([one], { type: "linear", weights: [1] })).get("q_proj")!.a.data;
    const kept = of(1).filter((value) => value !== 0).length;
    expect(kept).toBeGreaterThan(12);
    expect(kept).toBeLessThan(36);
    for (const [i, value] of of(1).entries()) expect(value === 0 || Math.abs(value - 2 * plain[i]!) < 1e-6).toBe(true);
    expect([of(1), of(1).join() === of(2).join()]).toEqual([of(1), false]);
    const mean = new Float64Array(plain.length);
    for (let seed = 0; seed < 400; seed++) of(seed).forEach((value, i) => (mean[i]! += value / 400));
    expect(maxAbsError(mean, plain)).toBeLessThan((5 * Math.max(...plain.map(Math.abs))) / Math.sqrt(400));
  });
  test("a module that one adapter lacks comes from the other", () => {
    const q = { ...one, targets: ["q_proj"] };
    for (const type of ["cat", "svd", "linear"] as const) {
      const combined = combineAdapters([q, two], { type, weights: [1, 1] });
      expect(maxAbsError(delta(combined, "v_proj"), delta(two, "v_proj"))).toBeLessThan(2e-6);
    }
  });
  test.each<[string, Partial<CombineOptions>]>([
    ["a weight too few", { weights: [1] }],
    ["a weight that is no number", { weights: [1, NaN] }],
    ["a density nobody asked for", { density: 0.5 }],
    ["a missing density", { type: "ties" }],
    ["a density of 0", { type: "ties", density: 0 }],
    ["a rank for linear", { rank: 2 }],
    ["a seed for linear", { seed: 2 }],
  ])("%s: refused", (_, options) => {
    expect(() => combineAdapters([one, two], { type: "linear", weights: [1, 1], ...options })).toThrow(
      expect.objectContaining({ code: "COMBINATION_INVALID" }),
    );
  });
  test("other shapes, other ranks: refused where they cannot be added", () => {
    const wide = adapter({ r: 2, alpha: 2, useRslora: false }, (path, side) => {
      const [rows, cols] = golden.get(`one.${path}.${side}`)!.shape;
      const shape = side === "A" ? [2, cols!] : [rows!, 2];
      return { shape, values: seededNormals(shape[0]! * shape[1]!, 1) };
    });
    expect(() => combineAdapters([one, wide], { type: "linear", weights: [1, 1] })).toThrow(
      expect.objectContaining({ code: "COMBINATION_INVALID" }),
    );
    expect(combineAdapters([one, wide], { type: "cat", weights: [1, 1] }).config.r).toBe(6);
    const other = adapter({ r: 4, alpha: 8, useRslora: false }, (path, side) =>
      golden.get(`one.${path === "q_proj" ? "v_proj" : "q_proj"}.${side}`)!,
    );
    expect(() => combineAdapters([one, other], { type: "cat", weights: [1, 1] })).toThrow(
      expect.objectContaining({ code: "ADAPTERS_INCOMPATIBLE" }),
    );
  });
});

describe("resizing", () => {
  test("to a larger rank nothing is lost, to a smaller one the best is kept", () => {
    for (const path of PATHS)
      expect(maxAbsError(delta(resizeAdapter(one, 7).adapter, path), delta(one, path))).toBeLessThan(1e-6);
    const { adapter: small, kept } = resizeAdapter(one, 2);
    expect(small.config).toMatchObject({ r: 2, alpha: 2, useRslora: false });
    for (const path of PATHS) {
      const whole = delta(one, path);
      const rest = delta(small, path).map((value, i) => whole[i]! - value);
      const energy = (x: Float64Array): number => x.reduce((sum, value) => sum + value * value, 0);
      expect(kept.get(path)).toBeCloseTo(1 - energy(rest) / energy(whole), 5); // Eckart–Young: the rest is orthogonal
    }
  });
  test.each([0, 1.5, NaN])("the rank %s is refused", (rank) => {
    expect(() => resizeAdapter(one, rank)).toThrow(expect.objectContaining({ code: "COMBINATION_INVALID" }));
  });
});

describe("differences", () => {
  test("norms, distance and angle are those of the dense updates", () => {
    const norm = (x: Float64Array): number => Math.hypot(...x);
    for (const { path, norms, distance, cosine } of diffAdapters(one, two)) {
      const [x, y] = [delta(one, path), delta(two, path)];
      expect(norms[0]).toBeCloseTo(norm(x), 9);
      expect(norms[1]).toBeCloseTo(norm(y), 9);
      expect(distance).toBeCloseTo(norm(x.map((value, i) => value - y[i]!)), 9);
      expect(cosine).toBeCloseTo(x.reduce((sum, value, i) => sum + value * y[i]!, 0) / (norm(x) * norm(y)), 9);
    }
  });
  test("an adapter and itself; a module that one lacks", () => {
    for (const { distance, cosine } of diffAdapters(one, one)) {
      expect(distance).toBeLessThan(1e-6);
      expect(cosine).toBeCloseTo(1, 12);
    }
    expect(diffAdapters(one, { ...two, targets: ["v_proj"] })[0]).toMatchObject({
      norms: [expect.any(Number), 0],
      cosine: 0,
    });
  });
});
