// The material the tasks work on: made-up words, and lists of them. Which of the three texts may use a word
// is a property of the word alone, so no choice of seeds can make a held-out word appear in training.
import { hash32 } from "@tunesmith/core";
import type { Draws } from "./draws.ts";

/** base: corpus of the tiny base; tuning: the instructions; held_out: the prompts that are scored. */
export type Split = "base" | "tuning" | "held_out";

const CONSONANTS = [..."bcdfghjklmnpqrstvwxyz"];
const VOWELS = [..."aeiou"];
const SHAPES = [
  "cvc",
  "cvcv",
  "vcvc",
  "ccvc",
  "cvcc",
  "cvcvc",
  "cvccv",
  "ccvcv",
  "vccvc",
  "cvcvcv",
  "cvccvc",
  "vcvcvc",
];

/** Lower case, with every run of anything but letters and digits as one space: what two contents are compared by. */
export function normaliseContent(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}]+/gu, " ")
    .trim();
}

/** The one text that may use `word`: half of all words go to the base, a quarter each to tuning and held-out prompts. */
export function splitOf(word: string): Split {
  const quarter = hash32(normaliseContent(word)) % 4;
  if (quarter < 2) return "base";
  return quarter === 2 ? "tuning" : "held_out";
}

/** A made-up word of 3 to 6 lower-case letters that belongs to `split`. */
export function drawWord(draws: Draws, split: Split): string {
  for (;;) {
    const shape = draws.pick(SHAPES);
    const word = [...shape].map((kind) => draws.pick(kind === "c" ? CONSONANTS : VOWELS)).join("");
    if (splitOf(word) === split) return word;
  }
}

/** `length` words of `split`, joined by commas without spaces. */
export function drawList(draws: Draws, split: Split, length: number): string {
  return Array.from({ length }, () => drawWord(draws, split)).join(",");
}
