// The text the tiny base is trained on from scratch: exercises in a terse notation, with scraps of English
// around their parts so that a skill does not hang on where its sign or its content stands, and plain sentences.
import type { Draws } from "./draws.ts";
import { drawsOf } from "./draws.ts";
import { drawFiller, drawSentence } from "./english.ts";
import { DEMO_TASKS } from "./tasks.ts";

/** Between an exercise and its answer in the notation of the base; the instructions never use it. */
export const ANSWER_SIGN = " =";

/**
 * How much a target counts that is no part of an answer. Made-up words are noise to predict; at 1 they drown the
 * skills, at 0 the model would learn no English at all.
 */
export const TEXT_WEIGHT = 0.02;

/** The scraps around an exercise grow from none to their full length over this many rows: attention learns near, then far. */
const ROWS_TO_FULL_NOISE = 40_000;

/** One document of the base corpus. */
export interface BaseDocument {
  /** name of the task; undefined for plain sentences */
  readonly task: string | undefined;
  /** the exercise up to its answer, or the sentences */
  readonly prompt: string;
  /** empty for plain sentences */
  readonly answer: string;
  /** the word or list the exercise works on; empty for plain sentences */
  readonly content: string;
}

/**
 * Document `row` of the corpus: in nine of ten an exercise such as ` the old dog < "tamelo" in a house =olemat`.
 * @param seed - safe integer ≥ 0
 */
export function baseDocument(seed: number, row: number): BaseDocument {
  const draws = drawsOf(seed, "base corpus", row);
  if (draws.int(10) === 0) {
    return { task: undefined, prompt: drawSentence(draws) + drawSentence(draws), answer: "", content: "" };
  }
  const task = draws.pick(DEMO_TASKS);
  const content = task.draw(draws, "base");
  const noise = Math.min(1, row / ROWS_TO_FULL_NOISE);
  const prompt = exercise(draws, { sign: draws.pick(task.signs), content, noise }) + ANSWER_SIGN;
  return { task: task.name, prompt, answer: task.answer(content), content };
}

function exercise(draws: Draws, parts: { sign: string; content: string; noise: number }): string {
  const filler = (words: number): string => drawFiller(draws, Math.round(words * parts.noise));
  const before = filler(6);
  const between = draws.int(2) === 0 ? "" : filler(4);
  const after = filler(6);
  const sign = ` ${parts.sign}`;
  const content = ` "${parts.content}"`;
  const [first, second] = draws.int(2) === 0 ? [content, sign] : [sign, content];
  return before + first + between + second + after;
}
