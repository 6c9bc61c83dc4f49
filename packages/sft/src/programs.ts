// The two programs of a training step, recorded once per bucket of tokens: a micro-batch (forward, loss, backward into
// the store's gradients) and the update (norm, clipping, AdamW, zero gradients).

import { backward, linearCrossEntropy } from "@tunesmith/autograd";
import type { Batch } from "@tunesmith/data";
import { declareTokens, forward, tokenBucket, tokenValues } from "@tunesmith/models";
import { ADAMW_SCALARS, adamwScalars, adamwStep } from "@tunesmith/optim";
import type { AdamwOptions } from "@tunesmith/optim";
import { record } from "@tunesmith/tensor";
import type { Pending, Program } from "@tunesmith/tensor";
import { declareTargets, targetValues } from "./targets.ts";
import type { Tuning } from "./tuning.ts";

export class StepPrograms {
  readonly #tuning: Tuning;
  readonly #optimizer: AdamwOptions;
  readonly #microBatches = new Map<number, Program>();
  #update: Program | undefined;

  constructor(tuning: Tuning, optimizer: AdamwOptions) {
    this.#tuning = tuning;
    this.#optimizer = optimizer;
  }

  /**
   * Adds the gradients of Σ_t weights_t · CE_t to the store.
   * @param weights - `[T]` share of each target in the step's objective
   * @returns cross-entropy per position, `[bucket]`, 0 where there is no target
   */
  microBatch(batch: Batch, weights: Float32Array): Promise<Float32Array> {
    const { model } = this.#tuning;
    const tokens = tokenBucket(batch.inputIds.length);
    let program = this.#microBatches.get(tokens);
    if (!program) this.#microBatches.set(tokens, (program = recordMicroBatch(this.#tuning, tokens)));
    const limits = { vocab: model.config.vocabSize, positions: model.positions };
    const pending = program.replay({ ...tokenValues(batch, tokens, limits), ...targetValues(batch, weights, tokens) });
    return output(pending, (values) => values["losses"] as Float32Array);
  }

  /**
   * Applies the gradients and zeroes them.
   * @param at.step - 1 for the first update
   * @returns the global gradient norm before clipping; where it is not finite nothing was changed
   */
  update(at: { lr: number; step: number }): Promise<number> {
    const { store } = this.#tuning;
    this.#update ??= record(store.device, "update", (inputs) =>
      adamwStep(store, inputs.input("scalars", [ADAMW_SCALARS], "f32"), this.#optimizer),
    );
    const pending = this.#update.replay({ scalars: adamwScalars(this.#optimizer, at) });
    return output(pending, (values) => values["gradNorm"]![0]!);
  }

  dispose(): void {
    for (const program of this.#microBatches.values()) program.dispose();
    this.#microBatches.clear();
    this.#update?.dispose();
    this.#update = undefined;
  }
}

function recordMicroBatch({ model, adapter }: Tuning, tokens: number): Program {
  return record(model.device, `micro-batch of ${tokens} tokens`, (inputs) => {
    const hidden = forward(model, declareTokens(inputs, tokens), { adapter });
    const { loss, losses } = linearCrossEntropy(hidden, model.lm_head, {
      ...declareTargets(inputs, tokens),
      softCap: model.config.logitSoftCap,
    });
    backward(loss);
    return { losses };
  });
}

/** A pending output as a promise whose failure is not "unhandled" while earlier ones are still awaited. */
function output<T>(pending: Pending, pick: (values: Awaited<ReturnType<Pending["read"]>>) => T): Promise<T> {
  const promise = pending.read().then(pick);
  promise.catch(() => {});
  return promise;
}
