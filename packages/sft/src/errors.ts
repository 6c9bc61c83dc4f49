import { TunesmithError } from "@tunesmith/core";

/** What can stop a run. */
export type SftErrorCode =
  | "NON_FINITE" // a NaN or Inf in gradients (the weights were not changed), parameters or scores
  | "SELF_CHECK" // two ways to compute the first step disagree
  | "MEMORY_BUDGET" // no way to run fits the memory
  | "CHECKPOINT_MISSING" // nothing to resume from
  | "CHECKPOINT_UNSOUND" // not finished, or changed on disk
  | "CHECKPOINT_CHANGED" // of a run with another config, base, tokenizer, template or data
  | "HANDOVER_UNSOUND" // no sft.json of this format
  | "HANDOVER_CHANGED" // base, adapter, model, tokenizer or template are not those of the run
  | "UNFREEZE_UNMATCHED" // a module to train that the model does not have
  | "NO_ROWS"; // a split or an evaluation set is empty

export class SftError extends TunesmithError<SftErrorCode> {}
