// What only a look at all masks can tell: whether an end is learned, and whether a template's marks are tokens.

import { builtInTokens, type Example, IGNORED, type Tokenizer } from "@tunesmith/data";
import type { RunData } from "./run-data.ts";

/** How training rows end. */
export interface Ends {
  /** ids that end generation */
  readonly ids: readonly number[];
  /** examples with one of them among their targets */
  readonly examples: number;
  /** of all examples, 0 to 1 */
  readonly share: number;
}

/** Examples that train an end: without any, the model never learns to stop. */
export function endsOf(train: readonly Example[], { special }: Tokenizer): Ends {
  const ids = new Set(special.eosIds);
  const examples = train.filter(({ targets }) =>
    targets.some((target) => target !== IGNORED && ids.has(target)),
  ).length;
  return { ids: special.eosIds, examples, share: examples / Math.max(1, train.length) };
}

/** Warnings about masks, in a person's words. */
export function maskWarnings({
  train,
  tokenizer,
  templates,
}: Pick<RunData, "train" | "tokenizer" | "templates">): string[] {
  const out: string[] = [];
  const ends = endsOf(train, tokenizer);
  if (ends.examples === 0 && train.length > 0) {
    const known = ends.ids.map((id) => `${tokenizer.idToToken(id) ?? "?"} (id ${id})`).join(", ");
    out.push(
      `no training row ends in a token that ends generation${known === "" ? "" : `: ${known}`}; the model will not learn to stop. Name the token that ends a turn as eos_token_id in generation_config.json`,
    );
  }
  const name = templates?.default.name ?? "";
  const cut = (builtInTokens(name)?.tokens ?? []).filter((token) => tokenizer.tokenToId(token) === undefined);
  if (cut.length > 0) {
    out.push(
      `the chat template ${name} writes ${cut.join(" ")}, which the tokenizer cuts into pieces; data.add_special_tokens: true makes tokens of them`,
    );
  }
  return out;
}
