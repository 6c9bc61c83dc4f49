// The programs of a run, recorded before its first step: a micro-batch per bucket of tokens (forward, loss, backward
// into the store's gradients), the update (norm, clipping, optimizer, zero gradients), and scoring. Planning a run records
// the same programs on a device that holds nothing.

import type { Batch } from "@tunesmith/data";
import { Generator, tokenBucket, tokenValues } from "@tunesmith/models";
import { pullToStart, scalarCount } from "@tunesmith/optim";
import type { Optimizer } from "@tunesmith/optim";
import { reserveSlots, record } from "@tunesmith/tensor";
import type { Pending, Program } from "@tunesmith/tensor";
import type { LossTerms, TokenLosses, UpdateResult } from "./loss-terms.ts";
import { computeMicroBatch, type MicroBatchAt, microBatchValues } from "./micro-batch.ts";
import { recordReplay } from "./replay.ts";
import type { RunShape } from "./run-shape.ts";
import { ScorePrograms } from "./score.ts";
import type { StepMemory } from "./step-memory.ts";
import { targetValues } from "./targets.ts";
import type { Tuning } from "./tuning.ts";

export interface RunProgramsOptions {
  readonly optimizer: Optimizer;
  readonly shape: RunShape;
  readonly memory?: StepMemory;
  readonly terms?: LossTerms;
}

export class RunPrograms {
  readonly scores: ScorePrograms;
  readonly generator: Generator;
  readonly #tuning: Tuning;
  readonly #terms: LossTerms;
  readonly #optimizer: Optimizer;
  readonly #microBatches: ReadonlyMap<number, Program>;
  readonly #update: Program;
  readonly #replayed: ReadonlyMap<number, Program>;
  readonly #sampling: readonly Program[];

  /** Records everything; of the device's memory it takes only the caches that sampling fills. */
  constructor(tuning: Tuning, options: RunProgramsOptions) {
    const { optimizer, shape } = options;
    this.#tuning = tuning;
    this.#terms = options.terms ?? {};
    this.#optimizer = optimizer;
    this.#microBatches = new Map(
      [...shape.microBatches].map(([tokens, inFlight]) => [
        tokens,
        record(
          tuning.model.device,
          `micro-batch of ${tokens} tokens`,
          (inputs) => computeMicroBatch(tuning, inputs, tokens, options),
          { inFlight },
        ),
      ]),
    );
    this.#update = record(tuning.store.device, "update", (inputs) => {
      const { store } = tuning;
      const scalars = inputs.input("scalars", [scalarCount(store.layout)], "f32");
      const { l2ToStart } = this.#terms;
      const penalty = l2ToStart === undefined ? {} : { l2ToStart: pullToStart(store, scalars, l2ToStart) };
      return { ...optimizer.update(store, scalars), ...penalty };
    });
    this.#replayed = new Map(
      [...(shape.replayed ?? [])].map(([tokens, inFlight]) => [
        tokens,
        recordReplay(tuning, tokens, inFlight, options.memory ?? {}),
      ]),
    );
    this.scores = new ScorePrograms(tuning, options.memory);
    for (const tokens of shape.scored) this.scores.program(tokens);
    this.generator = new Generator(tuning.model, tuning.adapter);
    this.#sampling = shape.sampled ? this.generator.prepare(shape.sampled.prompts, shape.sampled) : [];
  }

  get all(): readonly Program[] {
    const trained = [...this.#microBatches.values(), ...this.#replayed.values(), this.#update];
    return [...trained, ...this.scores.all, ...this.#sampling];
  }

  /** Makes the memory that all programs share, so that nothing grows later. */
  reserve(): void {
    reserveSlots(this.#tuning.store.device, this.all);
  }

  /**
   * Adds the gradients of Σ_t weights_t · (CE_t and its loss terms) to the store.
   * @param weights - `[T]` share of each target in the step's objective
   * @returns `[bucket]` numbers each
   */
  microBatch(batch: Batch, weights: Float32Array, at: MicroBatchAt): Promise<TokenLosses> {
    const tokens = tokenBucket(batch.inputIds.length);
    const program = this.#microBatches.get(tokens)!;
    const pending = program.replay(microBatchValues(this.#tuning, batch, weights, { tokens, at, terms: this.#terms }));
    return output(pending, (values) => values as unknown as TokenLosses);
  }

  /**
   * Adds the gradients of Σ_t weights_t · KL_t(base ‖ tuned model) to the store.
   * @returns `[bucket]`: the divergences
   */
  replay(batch: Batch, weights: Float32Array): Promise<Float32Array> {
    const { model } = this.#tuning;
    const tokens = tokenBucket(batch.inputIds.length);
    const limits = { vocab: model.config.vocabSize, positions: model.positions };
    const { targets: _, ...listed } = targetValues(batch, weights, tokens);
    const pending = this.#replayed.get(tokens)!.replay({ ...tokenValues(batch, tokens, limits), ...listed });
    return output(pending, (values) => values["divergences"] as Float32Array);
  }

  /**
   * Applies the gradients (and penalties of the parameters themselves) and zeroes them.
   * @param at.step - 1 for the first update
   */
  update(at: { lr: number; step: number }): Promise<UpdateResult> {
    const pending = this.#update.replay({ scalars: this.#optimizer.scalars(this.#tuning.store.layout, at) });
    return output(pending, (values) => {
      const [gradNorm, l2ToStart] = [values["gradNorm"]![0]!, values["l2ToStart"]?.[0]];
      return { gradNorm, ...(l2ToStart === undefined ? {} : { l2ToStart }) };
    });
  }

  dispose(): void {
    for (const program of this.all) program.dispose();
    this.generator.dispose();
  }
}

/** A pending output as a promise whose failure is not "unhandled" while earlier ones are still awaited. */
function output<T>(pending: Pending, pick: (values: Awaited<ReturnType<Pending["read"]>>) => T): Promise<T> {
  const promise = pending.read().then(pick);
  promise.catch(() => {});
  return promise;
}
