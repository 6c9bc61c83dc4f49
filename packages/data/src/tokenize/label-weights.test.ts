import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { charTokenizer } from "../../test/char-tokenizer.ts";
import type { Encoding } from "../tokenizer/tokenizer.ts";
import { labelWeights } from "./label-weights.ts";

const encoding = (...spans: [number, number][]): Encoding => ({
  ids: new Int32Array(spans.length),
  starts: Int32Array.from(spans, (span) => span[0]),
  ends: Int32Array.from(spans, (span) => span[1]),
});
const span = (start: number, end: number, weight = 1): { start: number; end: number; weight: number } => ({
  start,
  end,
  weight,
});

describe("labelWeights", () => {
  test("a token that overlaps the border is trained", () => {
    expect([...labelWeights("abcdef", encoding([0, 2], [2, 4], [4, 6]), [span(3, 6)])]).toEqual([0, 1, 1]);
    expect([...labelWeights("abcdef", encoding([0, 2], [2, 4], [4, 6]), [span(2, 3)])]).toEqual([0, 1, 0]);
  });
  test("several tokens of one character are all trained", () => {
    expect([...labelWeights("a😀b", encoding([0, 1], [1, 3], [1, 3], [3, 4]), [span(1, 3)])]).toEqual([0, 1, 1, 0]);
  });
  test("tokens without text: trained inside a span and at its start, not at its end", () => {
    const tokens = encoding([0, 0], [0, 1], [1, 1], [1, 2], [2, 2], [2, 3], [0, 0]);
    expect([...labelWeights("abc", tokens, [span(1, 2)])]).toEqual([0, 0, 1, 1, 0, 0, 0]);
  });
  test("combining marks that no token spans belong to the token before them", () => {
    // NFC turns e + U+0301 into é; the library's offsets then cover the e alone
    const text = "xe\u0301y";
    expect([...labelWeights(text, encoding([0, 1], [1, 2], [3, 4]), [span(2, 3)])]).toEqual([0, 1, 0]);
    expect([...labelWeights(text, encoding([0, 1], [1, 2]), [span(2, 4)])]).toEqual([0, 1]);
    // a gap of white space is nobody's: tokenizers that trim offsets leave it to the next token
    expect([...labelWeights("x  y", encoding([0, 1], [3, 4]), [span(1, 2)])]).toEqual([0, 0]);
  });
  test("weights: the span's own, the larger where a token lies in two, 0 where it is 0", () => {
    const tokens = encoding([0, 2], [2, 4], [4, 6]);
    expect([...labelWeights("abcdef", tokens, [span(3, 6, 0.5), span(0, 3, 2)])]).toEqual([2, 2, 0.5]);
    expect([...labelWeights("abcdef", tokens, [span(0, 6, 0), span(4, 4, 1)])]).toEqual([0, 0, 0]);
  });
  test("agrees with asking every character, for any spans and merges", async () => {
    const tokenizer = charTokenizer({ merges: ["ab", "b🦊", "cc"] });
    const text = fc.array(fc.constantFrom("a", "b", "c", "🦊"), { maxLength: 30 }).map((parts) => parts.join(""));
    const cuts = fc.array(fc.tuple(fc.nat(40), fc.nat(8), fc.constantFrom(0.5, 1, 2)), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(text, cuts, async (content, raw) => {
        const spans = raw.map(([start, length, weight]) =>
          span(Math.min(start, content.length), Math.min(start + length, content.length), weight),
        );
        const tokens = await tokenizer.encode(content, { addSpecialTokens: false });
        const expected = Array.from(tokens.ids, (_, t) => {
          const units = Array.from({ length: tokens.ends[t]! - tokens.starts[t]! }, (_u, i) => tokens.starts[t]! + i);
          return Math.max(0, ...spans.filter((s) => units.some((u) => u >= s.start && u < s.end)).map((s) => s.weight));
        });
        expect([...labelWeights(content, tokens, spans)]).toEqual(expected);
      }),
    );
  });
});
