// Plain generated English for the base corpus. It makes every word of the instructions a known token, but in
// sentences that instruct nobody and mean nothing to the tasks.
import type { Draws } from "./draws.ts";

const NOUNS = [
  ..."dog cat man girl boy house tree river road book bird horse garden window letter letters word list alphabet".split(
    " ",
  ),
  ..."case line page place".split(" "),
];
const ADJECTIVES = "red old small big new first final other right left each every only".split(" ");
const THIRD_PERSON = "sees has takes leaves finds ends follows comes stands".split(" ");
const VERBS = "write spell read turn make put look change replace move become give copy remove drop leave have".split(
  " ",
);
const PLACES = "in on at by from to of for around".split(" ");
const DETERMINERS = "the a its one your".split(" ");
const OPENERS = "Write Spell Make Change Replace Move Turn Give Remove Drop Please What Which How The".split(" ");
const FUNCTION_WORDS = "is when you it the that does takes out do and".split(" ");

/** One sentence of 4 to 9 words, each with a space before it, closed by a full stop or a question mark. */
export function drawSentence(draws: Draws): string {
  const nounPhrase = (): string[] => {
    const phrase = [draws.pick(DETERMINERS)];
    if (draws.int(2) === 0) phrase.push(draws.pick(ADJECTIVES));
    phrase.push(draws.pick(NOUNS));
    return phrase;
  };
  const words = [draws.pick(OPENERS)];
  if (draws.int(3) === 0) words.push(draws.pick(FUNCTION_WORDS));
  words.push(...nounPhrase(), draws.pick(draws.int(2) === 0 ? VERBS : THIRD_PERSON));
  if (draws.int(2) === 0) words.push(...nounPhrase());
  if (draws.int(2) === 0) words.push(draws.pick(PLACES), ...nounPhrase());
  return ` ${words.join(" ")}${draws.pick([".", "?", ".", ","])}`;
}

/** Up to `max` words of a sentence, cut out of its middle or end: noise between the parts of an exercise. */
export function drawFiller(draws: Draws, max: number): string {
  const words = drawSentence(draws).split(" ").slice(1);
  const length = draws.int(Math.min(max, words.length) + 1);
  const start = draws.int(words.length - length + 1);
  return words
    .slice(start, start + length)
    .map((word) => ` ${word}`)
    .join("");
}

/** Every word {@link drawSentence} can use. */
export const LEXICON: readonly string[] = [
  ...new Set([
    ...OPENERS,
    ...FUNCTION_WORDS,
    ...DETERMINERS,
    ...ADJECTIVES,
    ...NOUNS,
    ...VERBS,
    ...THIRD_PERSON,
    ...PLACES,
  ]),
];
