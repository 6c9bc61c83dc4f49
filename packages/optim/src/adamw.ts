import {
  adamwUpdate,
  clipFactor,
  dotPartials,
  empty,
  fill,
  launch,
  partialCount,
  ShapeError,
  viewOf,
} from "@tunesmith/tensor";
import type { Tensor } from "@tunesmith/tensor";
import { OptimError } from "./errors.ts";
import type { ParameterStore } from "./store.ts";

/** What stays the same from step to step. */
export interface AdamwOptions {
  /** decay rates of the moments, each in [0, 1) */
  readonly betas: readonly [number, number];
  /** added to the root of the second moment, > 0 */
  readonly eps: number;
  /** decoupled weight decay, ≥ 0; parameters with `decay: false` have none */
  readonly weightDecay: number;
  /** gradients are scaled down to this global L2 norm; undefined: no clipping */
  readonly maxGradNorm?: number | undefined;
}

/** Length of the tensor that `adamwScalars` fills. */
export const ADAMW_SCALARS = 4;

/**
 * What changes from step to step, computed in float64: give it to the update program as the input that `adamwStep` reads.
 *
 * @param at.lr - learning rate of this step
 * @param at.step - 1 for the first update
 * @param at.lossScale - what the loss was multiplied with (mixed precision); gradients and norm are divided by it
 */
export function adamwScalars(
  options: AdamwOptions,
  at: { lr: number; step: number; lossScale?: number },
): Float32Array {
  const { lr, step, lossScale = 1 } = at;
  if (!(Number.isInteger(step) && step >= 1))
    throw new OptimError("OPTION_INVALID", "adamwScalars: step counts updates from 1", {
      received: String(step),
      expected: "an integer ≥ 1",
    });
  const [beta1, beta2] = options.betas;
  return Float32Array.of(
    1 - lr * options.weightDecay,
    lr / (1 - beta1 ** step),
    Math.sqrt(1 - beta2 ** step),
    1 / lossScale,
  );
}

/**
 * Launches one optimizer step over all parameters of a store: global gradient norm (fixed order of sums), clipping as
 * torch's `clip_grad_norm_` does it, AdamW with torch's semantics, and zero gradients afterwards. Run it eagerly or
 * inside `record`. Where the norm is not finite it sets `store.halt`; while that is set, parameters, moments and
 * gradients stay as they are.
 *
 * @param scalars - f32 [4] from `adamwScalars`
 * @returns `gradNorm` [1]: the norm before clipping, divided by the loss scale
 * @throws OptimError `OPTION_INVALID`; ShapeError for `scalars`
 * @see Loshchilov & Hutter 2017, "Decoupled Weight Decay Regularization", https://arxiv.org/abs/1711.05101
 */
export function adamwStep(
  store: ParameterStore,
  scalars: Tensor<"f32">,
  options: AdamwOptions,
): { gradNorm: Tensor<"f32"> } {
  const { betas, eps, maxGradNorm } = options;
  checkOptions(options);
  if (scalars.size !== ADAMW_SCALARS)
    throw new ShapeError({
      op: "adamwStep",
      arg: "scalars",
      received: scalars.shape,
      expected: [ADAMW_SCALARS],
      because: "it holds what adamwScalars computes",
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
  for (const [i, shard] of store.shards.entries()) {
    for (const { start, size, decay } of store.layout.shards[i]!.ranges) {
      launch(adamwUpdate, {
        params: {
          n: size,
          start: start / 4,
          decayed: decay ? 1 : 0,
          rest1: 1 - betas[0],
          beta2: betas[1],
          rest2: 1 - betas[1],
          eps,
        },
        reads: { clip, scalars },
        updates: shard,
      });
    }
  }
  return { gradNorm: viewOf(clip, 0, [1]) };
}

function checkOptions({ betas, eps, weightDecay, maxGradNorm }: AdamwOptions): void {
  const checks: [string, number, boolean, string][] = [
    ["betas[0]", betas[0], betas[0] >= 0 && betas[0] < 1, "in [0, 1)"],
    ["betas[1]", betas[1], betas[1] >= 0 && betas[1] < 1, "in [0, 1)"],
    ["eps", eps, eps > 0, "> 0"],
    ["weightDecay", weightDecay, weightDecay >= 0, "≥ 0"],
    ["maxGradNorm", maxGradNorm ?? 1, (maxGradNorm ?? 1) > 0, "> 0, or undefined"],
  ];
  for (const [name, value, ok, expected] of checks)
    if (!ok || !Number.isFinite(value))
      throw new OptimError("OPTION_INVALID", `adamwStep: ${name} is out of range`, {
        received: String(value),
        expected,
      });
}
