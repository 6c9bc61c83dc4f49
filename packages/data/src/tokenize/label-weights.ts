import type { Encoding } from "../tokenizer/tokenizer.ts";

/** A trained part of a text. */
export interface WeightedSpan {
  /** first UTF-16 code unit */
  readonly start: number;
  /** one past the last */
  readonly end: number;
  readonly weight: number;
}

/**
 * How much each token is trained, from the characters it stands for: a token that overlaps a trained span, if only by a
 * part, is trained with the span's weight (the largest where it overlaps several). A token that stands for no text, such
 * as a sentencepiece space marker after a special token, is trained where it lies inside a span.
 *
 * Normalizers may leave characters without a token: composing `e` + U+0301 to `é` yields a token that spans the `e` alone.
 * Combining marks that no token spans therefore belong to the token before them.
 *
 * @param spans - in any order
 * @returns [T] weights, 0 = not trained
 */
export function labelWeights(text: string, encoding: Encoding, spans: readonly WeightedSpan[]): Float32Array {
  const { ids, starts } = encoding;
  const weights = new Float32Array(ids.length);
  const sorted = spans.filter(({ start, end, weight }) => end > start && weight > 0).sort((a, b) => a.start - b.start);
  const covered = withMarks(text, encoding);
  let first = 0; // spans before it end before every later token starts
  for (let t = 0; t < ids.length; t++) {
    const start = starts[t]!;
    const end = covered[t]!;
    while (first < sorted.length && sorted[first]!.end <= start) first++;
    for (let s = first; s < sorted.length && sorted[s]!.start < Math.max(end, start + 1); s++) {
      const span = sorted[s]!;
      if (span.end > start) weights[t] = Math.max(weights[t]!, span.weight);
    }
  }
  return weights;
}

/** Ends of tokens, combining marks that no token spans included. Several tokens of one character share them. */
function withMarks(text: string, { starts, ends }: Encoding): Int32Array {
  const out = ends.slice();
  let next = text.length; // start of the first token further right
  for (let t = ends.length - 1; t >= 0; t--) {
    const [start, end] = [starts[t]!, ends[t]!];
    const following = starts[t + 1];
    if (following !== undefined && following > start) next = following;
    if (end > start && end < next) out[t] = end + /^\p{Mark}*/u.exec(text.slice(end, next))![0].length;
  }
  return out;
}
