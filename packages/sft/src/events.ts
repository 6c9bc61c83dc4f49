// What a run tells its caller, in the words of metrics.jsonl. The schema is stable: fields are added, never renamed
// (docs/cli.md, "Events").

import type { Generated } from "@tunesmith/models";
import type { Findings } from "./guards/findings.ts";

/** Loss and number of targets of one task; plain cross-entropy in nats per target, unweighted. */
export interface TaskLoss {
  readonly loss: number;
  readonly targets: number;
}

/** Scores of one task: what {@link EvalResult} says of all rows. */
export interface TaskScore extends TaskLoss {
  readonly perplexity: number;
  readonly token_accuracy: number;
}

/** One finished optimizer step. */
export interface StepEvent extends Findings {
  readonly type: "step";
  /** finished updates, from 1 */
  readonly step: number;
  readonly total_steps: number;
  /** the objective of the step, with label smoothing and z-loss, without `penalties` */
  readonly loss: number;
  /** before clipping */
  readonly grad_norm: number;
  /** the rate used in this step */
  readonly lr: number;
  /** real tokens, without padding */
  readonly tokens: number;
  readonly padded_tokens: number;
  readonly target_tokens: number;
  readonly tasks: Readonly<Record<string, TaskLoss>>;
  /** what regularisation added to the objective, term by term */
  readonly penalties?: { readonly l2_to_start?: number; readonly kl_to_base?: number };
  readonly timing: {
    readonly seconds: number;
    readonly tokens_per_second: number;
    /** what the step has to compute whatever runs it, see `modelFlops`; with `peakFlops` */
    readonly model_flops?: number;
    /** model FLOPs per second over `peakFlops` */
    readonly mfu?: number;
  };
}

/** Scores of a set of rows. */
export interface EvalResult {
  /** nats per target over all rows (a token mean, not a mean of batch means) */
  readonly loss: number;
  /** exp(loss) */
  readonly perplexity: number;
  /** share of targets that are the most likely token */
  readonly token_accuracy: number;
  readonly targets: number;
  readonly tasks: Readonly<Record<string, TaskScore>>;
}

/** An evaluation after `step` updates; step 0 is the untouched start. */
export interface EvalEvent extends Findings {
  readonly type: "eval";
  readonly step: number;
  readonly result: EvalResult;
}

/** Counterfactual pairs of one set: g = log p(a) − log p(b), nats, summed over the targets of each side. */
export interface PairScore {
  /** mean g */
  readonly gap: number;
  /** mean |g| */
  readonly abs_gap: number;
  /** share of pairs with g > 0 */
  readonly prefers_a: number;
  readonly pairs: number;
}

/** Scores of what must not be forgotten, by name of the set. */
export interface ProbeResult {
  readonly sets: Readonly<Record<string, TaskScore>>;
  readonly pairs: Readonly<Record<string, PairScore>>;
}

/** The probe after `step` updates; step 0 is the untouched start. */
export interface ProbeEvent extends Findings {
  readonly type: "probe";
  readonly step: number;
  readonly result: ProbeResult;
}

/** Continuations of the prompts of `sampling`, in their order, after `step` updates. */
export interface SampleEvent {
  readonly type: "sample";
  readonly step: number;
  readonly samples: readonly Generated[];
}

/** All numbers up to `step` were reported, and the store holds exactly what that step left: the place to save. */
export interface BoundaryEvent {
  readonly type: "boundary";
  readonly step: number;
}

export type TrainEvent = StepEvent | EvalEvent | ProbeEvent | SampleEvent | BoundaryEvent;
