// What a line of a file means, before any template or tokenizer has seen it.

import type { JsonValue } from "@tunesmith/core";

/** Closed on purpose: a role that a template does not know is rendered wrongly or dropped without a word. */
export const ROLES = ["system", "developer", "user", "assistant", "tool"] as const;
export type Role = (typeof ROLES)[number];

/** One message of a conversation. Beyond role and weight it holds what templates read. */
export interface Message {
  readonly role: Role;
  /** null only beside `tool_calls` */
  readonly content: string | null;
  /** multiplies the loss of this message's targets; finite and ≥ 0, 0 = not trained; default 1 */
  readonly weight?: number;
  readonly name?: string;
  readonly reasoning_content?: string;
  readonly tool_calls?: readonly JsonValue[];
  readonly tool_call_id?: string;
  /** Alpaca's two parts of a user's content, for templates that write them apart */
  readonly instruction?: string;
  readonly input?: string;
}

/** Needs a chat template. */
export interface ConversationRow {
  readonly kind: "conversation";
  readonly messages: readonly Message[];
  /** tool definitions handed to the template */
  readonly tools?: readonly JsonValue[];
  /** handed to the template where the row has it */
  readonly parallelToolCalls?: boolean;
  /** index of the first message of the completion, for prompt/completion rows made of messages */
  readonly completionFrom?: number;
  readonly task?: string;
}

/** Plain text in two parts; never sees a template. */
export interface CompletionRow {
  readonly kind: "completion";
  readonly prompt: string;
  readonly completion: string;
  readonly task?: string;
}

/** A document for continued pretraining: all of it is trained. */
export interface TextRow {
  readonly kind: "text";
  readonly text: string;
  readonly task?: string;
}

/** A row that was tokenized elsewhere. Labels are unshifted, as in Hugging Face; all arrays have one length. */
export interface TokensRow {
  readonly kind: "tokens";
  readonly inputIds: Int32Array;
  /** −100 = ignored; absent = every token */
  readonly labels?: Int32Array;
  /** 0 = padding */
  readonly attentionMask?: Int32Array;
  readonly positionIds?: Int32Array;
  readonly task?: string;
}

/** One row that holds several conversations: the threads of a tree. */
export interface ThreadsRow {
  readonly kind: "threads";
  readonly threads: readonly ConversationRow[];
  readonly task?: string;
}

/** Two answers of which one was preferred. For later stages: supervised fine-tuning refuses it. */
export interface PreferenceRow {
  readonly kind: "preference";
  readonly prompt?: string | readonly Message[];
  readonly chosen: string | readonly Message[];
  readonly rejected: string | readonly Message[];
  readonly task?: string;
}

export type Row = ConversationRow | CompletionRow | TextRow | TokensRow | ThreadsRow | PreferenceRow;
