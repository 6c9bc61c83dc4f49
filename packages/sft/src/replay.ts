// KL divergence from the frozen base on replayed rows: what the base says about them is what the tuned model is to go on
// saying (distillation against forgetting: Li and Hoiem 2016, https://arxiv.org/abs/1606.09282).

import { backward, linearKl } from "@tunesmith/autograd";
import { type Batch, type Example, makeBatch, type Schedule, targetScale } from "@tunesmith/data";
import { declareTokens, forward, outputHead } from "@tunesmith/models";
import { record } from "@tunesmith/tensor";
import type { Program } from "@tunesmith/tensor";
import { rowsFor } from "./step-memory.ts";
import type { StepMemory } from "./step-memory.ts";
import type { Tuning } from "./tuning.ts";

export interface Replay {
  readonly examples: readonly Example[];
  /** which of them at which update of the run */
  readonly schedule: Schedule;
  /** > 0: each step's objective grows by strength · mean over the replayed targets of KL(base ‖ tuned model) */
  readonly strength: number;
}

/**
 * The program of a replayed micro-batch: base and tuned model forward, and the divergence's gradient into the store. Neither
 * dropout nor noise.
 * @throws RangeError where the base's own weights train, so that there is none to compare with
 */
export function recordReplay(
  { model, adapter }: Tuning,
  tokens: number,
  inFlight: number,
  { recompute, chunkRows }: StepMemory,
): Program {
  if (!adapter) throw new RangeError("replay needs the base beside what trains, and the base's own weights train");
  return record(
    model.device,
    `replay of ${tokens} tokens`,
    (inputs) => {
      const sequence = declareTokens(inputs, tokens);
      const base = { hidden: forward(model, sequence), head: outputHead(model, undefined) };
      const hidden = forward(model, sequence, { adapter, recompute });
      const { loss, divergences } = linearKl(hidden, outputHead(model, adapter), base, {
        weights: inputs.input("weights", [tokens], "f32"),
        rows: inputs.input("rows", [tokens], "i32"),
        softCap: model.config.logitSoftCap,
        chunkRows: rowsFor(tokens, chunkRows),
      });
      backward(loss);
      return { divergences };
    },
    { inFlight },
  );
}

/**
 * Adds the gradients of a step's replayed rows.
 * @param launch - runs a micro-batch, see `RunPrograms.replay`
 * @returns what they add to the objective
 */
export function replayStep(
  launch: (batch: Batch, weights: Float32Array) => Promise<Float32Array>,
  { examples, schedule, strength }: Replay,
  at: { readonly step: number; readonly microBatchSize: number | undefined },
): Promise<number> {
  const tasks = [...new Set(examples.map((example) => example.task))];
  const window = schedule.window(at.step, at.microBatchSize).map((rows) =>
    makeBatch(
      rows.map((row) => examples[row]!),
      { packing: true, tasks },
    ),
  );
  const scales = targetScale(window, "token_mean", []).map((scale) => scale.map((share) => strength * share));
  const divergences = Promise.all(window.map((batch, i) => launch(batch, scales[i]!)));
  const penalty = divergences.then((all) =>
    window.reduce(
      (total, { targetRows }, i) => targetRows.reduce((sum, row) => sum + scales[i]![row]! * all[i]![row]!, total),
      0,
    ),
  );
  penalty.catch(() => {}); // told when it is read
  return penalty;
}
