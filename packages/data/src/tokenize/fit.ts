// Fitting what a row became into max_length, and counting what that costs.

import { failRow, type RowAt } from "../formats/columns.ts";
import { countTargets, type Example, IGNORED } from "./example.ts";

export const OVERLONG = ["error", "drop", "truncate"] as const;
export type Overlong = (typeof OVERLONG)[number];

/** An example before it has a place in a dataset. */
export type Piece = Omit<Example, "task" | "row">;

/** What became of a row. */
export interface TokenizedRow {
  /** one, or several blocks of a text, or none if the row was dropped */
  readonly pieces: readonly Piece[];
  /** tokens of the whole row */
  readonly tokens: number;
  /** tokens that are in no piece */
  readonly lostTokens: number;
  readonly lost: "nothing" | "end" | "too_long" | "no_targets";
}

function slice(piece: Piece, start: number, end: number): Piece {
  const targets = piece.targets.slice(start, end);
  const targetWeights = piece.targetWeights.slice(start, end);
  // the token after the last one was cut away
  if (targets.length > 0) {
    targets[targets.length - 1] = IGNORED;
    targetWeights[targets.length - 1] = 0;
  }
  return {
    inputIds: piece.inputIds.slice(start, end),
    targets,
    targetWeights,
    ...(piece.positionIds === undefined ? {} : { positionIds: piece.positionIds.slice(start, end) }),
    ...(piece.segmentIds === undefined ? {} : { segmentIds: piece.segmentIds.slice(start, end) }),
  };
}

/** @throws DataError `ROW_TOO_LONG` with `overlong: "error"` */
export function fit(
  whole: Piece,
  at: RowAt,
  { maxLength, overlong }: { readonly maxLength: number; readonly overlong: Overlong },
): TokenizedRow {
  const tokens = whole.inputIds.length;
  if (countTargets(whole) === 0) return { pieces: [], tokens, lostTokens: tokens, lost: "no_targets" };
  if (tokens <= maxLength) return { pieces: [whole], tokens, lostTokens: 0, lost: "nothing" };
  if (overlong === "error") {
    failRow("ROW_TOO_LONG", at, `the row has ${tokens} tokens, max_length is ${maxLength}`, {
      expected: `at most ${maxLength} tokens`,
      received: String(tokens),
      fix: "raise max_length, shorten the row, or set overlong: drop or truncate",
    });
  }
  if (overlong === "drop") return { pieces: [], tokens, lostTokens: tokens, lost: "too_long" };
  const start = slice(whole, 0, maxLength);
  if (countTargets(start) === 0) return { pieces: [], tokens, lostTokens: tokens, lost: "no_targets" };
  return { pieces: [start], tokens, lostTokens: tokens - maxLength, lost: "end" };
}

/** Blocks of `maxLength`. Each is an example of its own: its first token is no target. */
export function cutText(whole: Piece, maxLength: number): TokenizedRow {
  const tokens = whole.inputIds.length;
  const pieces: Piece[] = [];
  let lostTokens = 0;
  for (let start = 0; start < tokens; start += maxLength) {
    const block = slice(whole, start, Math.min(tokens, start + maxLength));
    if (countTargets(block) > 0) pieces.push(block);
    else lostTokens += block.inputIds.length;
  }
  return { pieces, tokens, lostTokens, lost: pieces.length === 0 ? "no_targets" : lostTokens > 0 ? "end" : "nothing" };
}
