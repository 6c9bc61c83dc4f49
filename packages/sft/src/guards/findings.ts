import type { TaskLoss } from "../events.ts";

/** What a guard warns of. */
export type WarningCode =
  | "BASE_UNSUITABLE" // the start predicts a task no better than a uniform guess
  | "BASE_KNOWS_DATA" // the start predicts a task almost perfectly
  | "OVERFITTING" // the eval loss rises while the training loss falls
  | "MEMORISATION" // the training loss lies far below the eval loss of the same task
  | "FORGETTING" // the loss of a probe's set has risen
  | "BIAS_GREW"; // the gap of a set of counterfactual pairs has grown

export interface Warning {
  readonly code: WarningCode;
  /** what happened, with numbers, and what to do; for people */
  readonly message: string;
  /** task or set that it is about; absent: all rows */
  readonly name?: string;
}

/** The start of a run against a uniform guess over the vocabulary. */
export interface Suitability {
  /** ln(vocabulary), nats per target */
  readonly uniform_loss: number;
  readonly tasks: Readonly<
    Record<
      string,
      { readonly loss: number; readonly share: number; readonly verdict: "suitable" | "unsuitable" | "known" }
    >
  >;
}

/** What guards add to events; absent where they had nothing to say. */
export interface Findings {
  /** with the first numbers of the untouched start */
  readonly suitability?: Suitability;
  /** with an evaluation: training loss of the steps since the last one, by task; unweighted token means */
  readonly train_tasks?: Readonly<Record<string, TaskLoss>>;
  /** with a probe: loss of each set, and |gap| of each set of pairs, less that of the start */
  readonly delta?: {
    readonly sets: Readonly<Record<string, number>>;
    readonly pairs: Readonly<Record<string, number>>;
  };
  readonly warnings?: readonly Warning[];
  /** the run ends with this event; says why */
  readonly stop?: string;
}
