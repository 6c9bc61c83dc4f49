// What all optimizers share: the global gradient norm with clipping, a launch per group of parameters, and checks.

import { clipFactor, dotPartials, empty, fill, launch, partialCount, ShapeError, viewOf } from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { OptimError } from "./errors.ts";
import type { ParameterGroup, ParameterLayout } from "./layout.ts";
import type { ParameterStore, Shard } from "./store.ts";

/** What changes from step to step. */
export interface UpdateAt {
  /** learning rate of this step, before the groups' own rates */
  readonly lr: number;
  /** 1 for the first update */
  readonly step: number;
  /** what the loss was multiplied with (mixed precision); gradients and norm are divided by it. Default 1 */
  readonly lossScale?: number;
}

/** Scalars of one group. */
const SCALARS = 4;

/** Length of the tensor that an update reads its scalars from. */
export function scalarCount({ groups }: ParameterLayout): number {
  return SCALARS * groups.length;
}

/** Per group three numbers of the optimizer, computed in float64, and what undoes the loss scale. */
export function groupScalars(
  { groups }: ParameterLayout,
  { step, lossScale = 1 }: UpdateAt,
  of: (group: ParameterGroup) => readonly [number, number, number],
): Float32Array {
  if (!(Number.isInteger(step) && step >= 1))
    throw new OptimError("OPTION_INVALID", "an update counts steps from 1", {
      received: String(step),
      expected: "an integer ≥ 1",
    });
  return Float32Array.from(groups.flatMap((group) => [...of(group), 1 / lossScale]));
}

/** Parameters of a launch over one group of a shard, and what it reads. */
export interface GroupLaunch {
  readonly params: { readonly n: number; readonly start: number; readonly group: number };
  readonly reads: { readonly clip: Tensor; readonly scalars: Tensor };
  readonly shard: Shard;
}

/**
 * Launches one update: the global gradient norm (fixed order of sums), clipping as torch's `clip_grad_norm_` does it,
 * then `apply` for every group of every shard. A norm that is not finite sets `store.halt`, and kernels do nothing while
 * that is set.
 *
 * @param scalars - f32 [scalarCount]
 * @param maxGradNorm - undefined: no clipping
 * @returns `gradNorm` [1]: the norm before clipping, divided by the loss scale
 */
export function launchUpdate(
  store: ParameterStore,
  scalars: Tensor<"f32">,
  maxGradNorm: number | undefined,
  apply: (launch: GroupLaunch) => void,
): { gradNorm: Tensor<"f32"> } {
  const { clip, gradNorm } = clipGradients(store, scalars, maxGradNorm);
  for (const [i, shard] of store.shards.entries())
    for (const { start, size, group } of store.layout.shards[i]!.ranges)
      apply({ params: { n: size, start: start / 4, group }, reads: { clip, scalars }, shard });
  return { gradNorm };
}

/**
 * The global gradient norm, and what clipping and the loss scale make of it.
 * @returns `clip` [3], see the kernel `clipFactor`; `gradNorm` [1]
 */
export function clipGradients(
  store: ParameterStore,
  scalars: Tensor<"f32">,
  maxGradNorm: number | undefined,
): { clip: Tensor<"f32">; gradNorm: Tensor<"f32"> } {
  const expected = scalarCount(store.layout);
  if (scalars.size !== expected)
    throw new ShapeError({
      op: "update",
      arg: "scalars",
      received: scalars.shape,
      expected: [expected],
      because: "it holds four numbers per group of parameters",
    });
  const { device } = store;
  const count = store.shards.reduce((n, s) => n + partialCount(s.gradients.size), 0);
  const partials = empty(device, [count]);
  // each shard writes its part only, and debug mode looks at the whole after each
  if (store.shards.length > 1) launch(fill, { params: { n: count, value: 0 }, reads: {}, writes: { out: partials } });
  let first = 0;
  for (const { gradients } of store.shards) {
    launch(dotPartials, {
      params: { n: gradients.size, first },
      reads: { a: gradients, b: gradients },
      writes: { partials },
    });
    first += partialCount(gradients.size);
  }
  const clip = empty(device, [3]);
  launch(clipFactor, {
    params: { n: count, max_norm: maxGradNorm ?? 0 },
    reads: { partials, scalars },
    writes: { clip },
    updates: { halt: store.halt },
  });
  return { clip, gradNorm: viewOf(clip, 0, [1]) };
}

/** @throws OptimError `OPTION_INVALID` for the first number that is not finite or out of range */
export function checkRanges(
  optimizer: string,
  checks: readonly (readonly [name: string, value: number, ok: boolean, expected: string])[],
): void {
  for (const [name, value, ok, expected] of checks)
    if (!ok || !Number.isFinite(value))
      throw new OptimError("OPTION_INVALID", `${optimizer}: ${name} is out of range`, {
        received: String(value),
        expected,
      });
}
