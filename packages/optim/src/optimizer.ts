import type { Tensor } from "@tunesmith/tensor";
import type { ParameterLayout } from "./layout.ts";
import type { Moment, ParameterStore } from "./store.ts";
import type { UpdateAt } from "./update.ts";

/** A rule that turns gradients into new parameters: `adamw(…)`, `sgd(…)`, `lion(…)`. */
export interface Optimizer {
  /** what its `ParameterStore` must keep */
  readonly moments: readonly Moment[];
  /** What changes from step to step, as the tensor of `scalarCount` numbers that `update` reads; computed in float64. */
  scalars(layout: ParameterLayout, at: UpdateAt): Float32Array;
  /**
   * Launches one step over all parameters of a store: global gradient norm, clipping, the update, and zero gradients
   * afterwards. Run it eagerly or inside `record`. Where the norm is not finite it sets `store.halt`; while that is set,
   * parameters, moments and gradients stay as they are.
   *
   * @returns `gradNorm` [1]: the norm before clipping, divided by the loss scale
   * @throws OptimError `MOMENT_UNKNOWN` for a store of another optimizer; ShapeError for `scalars`
   */
  update(store: ParameterStore, scalars: Tensor<"f32">): { gradNorm: Tensor<"f32"> };
}
