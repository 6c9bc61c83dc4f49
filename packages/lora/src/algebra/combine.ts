// Several adapters as one, with the words and the arithmetic of PEFT's add_weighted_adapter.

import { hash32, uniform } from "@tunesmith/core";
import { LoraError } from "../errors.ts";
import { matrix, type Matrix, scaleColumns, transpose } from "../linalg/matrix.ts";
import { productSvd } from "../linalg/svd.ts";
import type { PeftAdapter } from "../peft.ts";
import { adapterFrom, checkSameShapes, type Update, plainUpdatesOf } from "./modules.ts";

/**
 * - `cat`: exact; ranks add up.
 * - `svd`: the best adapter of one rank for the exact sum.
 * - `linear`: √(w·s) of each A and of each B are added: cheap and rough.
 * - `magnitude_prune`, `ties`, `dare_linear`, `dare_ties`: as `linear`, on thinned matrices. TIES: Yadav et al. 2023,
 *   https://arxiv.org/abs/2306.01708; DARE: Yu et al. 2023, https://arxiv.org/abs/2311.03099
 */
export const COMBINATIONS = ["cat", "svd", "linear", "magnitude_prune", "ties", "dare_linear", "dare_ties"] as const;
export type Combination = (typeof COMBINATIONS)[number];

export interface CombineOptions {
  readonly type: Combination;
  /** one per adapter; may be negative */
  readonly weights: readonly number[];
  /** rank of the result, for `svd`; default: the largest of the parts */
  readonly rank?: number | undefined;
  /** share of the entries that is kept, 0 < density ≤ 1, for the thinning types */
  readonly density?: number | undefined;
  /** of the random thinning of DARE */
  readonly seed?: number | undefined;
}

/**
 * Combines adapters of one base model. A module that only some of them have is combined from those.
 * @throws LoraError `ADAPTERS_INCOMPATIBLE`, `COMBINATION_INVALID`
 */
export function combineAdapters(adapters: readonly PeftAdapter[], options: CombineOptions): PeftAdapter {
  const { type, weights } = options;
  if (adapters.length === 0 || adapters.length !== weights.length || !weights.every(Number.isFinite))
    throw invalid(`${adapters.length} adapters and the weights ${weights.join(", ")}`, "one finite weight per adapter");
  const parts = adapters.map(plainUpdatesOf);
  checkSameShapes(parts);
  const paths = [...new Set(parts.flatMap((updates) => [...updates.keys()]))];
  const ranks = parts.map((updates) => updates.values().next().value!.a.rows);
  const density = checkOptions(options, ranks);

  const combined = new Map<string, Pick<Update, "a" | "b">>();
  for (const path of paths) {
    const own = parts.flatMap((updates, i) => {
      const update = updates.get(path);
      return update ? [{ ...update, factor: weights[i]! * update.scale, index: i }] : [];
    });
    if (type === "cat")
      combined.set(
        path,
        padded(
          stacked(own),
          ranks.reduce((x, y) => x + y, 0),
        ),
      );
    else if (type === "svd") combined.set(path, truncated(stacked(own), options.rank ?? Math.max(...ranks)).update);
    else {
      const thin = (x: Matrix, side: string, index: number): Matrix =>
        thinned(x, type, density, { seed: options.seed ?? 0, site: hash32(`${index} ${path} ${side}`) });
      const merge = type === "ties" || type === "dare_ties" ? elected : added;
      combined.set(path, {
        a: merge(
          own.map(({ a, index }) => thin(a, "A", index)),
          own.map(({ factor }) => Math.sign(factor) * Math.sqrt(Math.abs(factor))),
        ),
        b: merge(
          own.map(({ b, index }) => thin(b, "B", index)),
          own.map(({ factor }) => Math.sqrt(Math.abs(factor))),
        ),
      });
    }
  }
  return adapterFrom(combined, adapters[0]!.baseModel);
}

/**
 * The best adapter of another rank for the same update, by SVD.
 * @returns the adapter, and per module the share of ‖ΔW‖² it keeps, 0 to 1
 */
export function resizeAdapter(
  adapter: PeftAdapter,
  rank: number,
): { adapter: PeftAdapter; kept: ReadonlyMap<string, number> } {
  if (!Number.isInteger(rank) || rank < 1) throw invalid(`the rank ${rank}`, "an integer ≥ 1");
  const updates = new Map<string, Pick<Update, "a" | "b">>();
  const kept = new Map<string, number>();
  for (const [path, update] of plainUpdatesOf(adapter)) {
    const result = truncated(stacked([{ ...update, factor: update.scale }]), rank);
    updates.set(path, result.update);
    kept.set(path, result.kept);
  }
  return { adapter: adapterFrom(updates, adapter.baseModel), kept };
}

/** Σ factor·B·A as one product: A's below each other, B's side by side. */
function stacked(parts: readonly { a: Matrix; b: Matrix; factor: number }[]): { a: Matrix; b: Matrix } {
  const rank = parts.reduce((sum, { a }) => sum + a.rows, 0);
  const a = matrix(rank, parts[0]!.a.cols);
  const bT = matrix(rank, parts[0]!.b.rows);
  let row = 0;
  for (const part of parts) {
    a.data.set(
      part.a.data.map((value) => value * part.factor),
      row * a.cols,
    );
    bT.data.set(transpose(part.b).data, row * bT.cols);
    row += part.a.rows;
  }
  return { a, b: transpose(bT) };
}

/** With rows and columns of zeros up to a rank. */
function padded({ a, b }: { a: Matrix; b: Matrix }, rank: number): { a: Matrix; b: Matrix } {
  const tall = matrix(rank, a.cols);
  tall.data.set(a.data);
  const wide = matrix(rank, b.rows);
  wide.data.set(transpose(b).data);
  return { a: tall, b: transpose(wide) };
}

/** As PEFT does: A = Vᵀ, B = U·S, padded with zeros where the product has a lower rank. */
function truncated(
  product: { a: Matrix; b: Matrix },
  rank: number,
): { update: { a: Matrix; b: Matrix }; kept: number } {
  const { u, s, v } = productSvd(product.b, product.a);
  const total = s.reduce((sum, value) => sum + value ** 2, 0);
  const keep = Math.min(rank, s.length);
  const kept = s.subarray(0, keep).reduce((sum, value) => sum + value ** 2, 0);
  const a = matrix(rank, v.rows);
  const bT = matrix(rank, u.rows);
  a.data.set(transpose(v).data.subarray(0, keep * v.rows));
  bT.data.set(transpose(scaleColumns(u, s)).data.subarray(0, keep * u.rows));
  return { update: { a, b: transpose(bT) }, kept: total === 0 ? 1 : kept / total };
}

function thinned(x: Matrix, type: Combination, density: number, key: { seed: number; site: number }): Matrix {
  if (type === "linear" || density === 1) return x;
  if (type === "dare_linear" || type === "dare_ties")
    return {
      ...x,
      data: x.data.map((value, i) => (uniform(key.seed, key.site, 0, i) < density ? value / density : 0)),
    };
  const keep = Math.floor(density * x.data.length);
  const order = Array.from(x.data.keys()).sort((i, j) => Math.abs(x.data[j]!) - Math.abs(x.data[i]!) || i - j);
  const data = new Float64Array(x.data.length);
  for (const i of order.slice(0, keep)) data[i] = x.data[i]!;
  return { ...x, data };
}

/** Σ w_i·X_i */
function added(parts: readonly Matrix[], weights: readonly number[]): Matrix {
  const sum = parts.map((part) => part.data);
  return {
    ...parts[0]!,
    data: parts[0]!.data.map((_, i) => sum.reduce((total, data, k) => total + weights[k]! * data[i]!, 0)),
  };
}

/** TIES: entries whose sign the sum of all does not share are left out, the weighted others averaged. */
function elected(parts: readonly Matrix[], weights: readonly number[]): Matrix {
  const data = parts[0]!.data.map((_, i) => {
    const values = parts.map((part) => part.data[i]!);
    const majority = values.reduce((x, y) => x + y, 0) >= 0 ? 1 : -1;
    const agree = values.map((value) => Math.sign(value) === majority);
    const sum = values.reduce((total, value, k) => total + (agree[k] ? weights[k]! * value : 0), 0);
    return sum / Math.max(1, agree.filter(Boolean).length);
  });
  return { ...parts[0]!, data };
}

function checkOptions({ type, density, rank, seed }: CombineOptions, ranks: readonly number[]): number {
  const exact = type === "cat" || type === "svd";
  if (!exact && new Set(ranks).size > 1)
    throw invalid(`${type} with the ranks ${ranks.join(", ")}`, "adapters of one rank, or the types cat and svd");
  if (rank !== undefined && (type !== "svd" || !Number.isInteger(rank) || rank < 1))
    throw invalid(`${type} with the rank ${rank}`, "an integer ≥ 1, with svd only");
  const thins = !exact && type !== "linear";
  if (thins ? !(density !== undefined && density > 0 && density <= 1) : density !== undefined)
    throw invalid(`${type} with the density ${density}`, thins ? "a density in (0, 1]" : "no density");
  if (seed !== undefined && !type.startsWith("dare")) throw invalid(`${type} with a seed`, "no seed");
  return density ?? 1;
}

function invalid(received: string, expected: string): LoraError {
  return new LoraError("COMBINATION_INVALID", `adapters cannot be combined: ${received}`, {
    received,
    expected,
    fix: `give ${expected}`,
  });
}
