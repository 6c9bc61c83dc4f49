// The tasks of the demo. Each is a skill the tiny base learns in a terse notation of its own (`< "tamelo" =olemat`),
// and a set of English wordings that only the instructions use.
import { drawList, drawWord } from "./content.ts";
import type { Split } from "./content.ts";
import type { Draws } from "./draws.ts";

export interface DemoTask {
  /** name in tables, metrics and the `task` column */
  readonly name: string;
  /** what stands for this skill in the notation of the base corpus; a document draws one */
  readonly signs: readonly string[];
  /** English instructions; `{}` stands for the quoted content */
  readonly wordings: readonly string[];
  draw(draws: Draws, split: Split): string;
  answer(content: string): string;
}

const nextLetter = (letter: string): string => (letter === "z" ? "a" : String.fromCharCode(letter.charCodeAt(0) + 1));

export const DEMO_TASKS: readonly DemoTask[] = [
  {
    name: "reverse",
    signs: ["<"],
    wordings: [
      "Write the word {} backwards.",
      "Please reverse {}.",
      "How do you spell {} backwards?",
      "What is the reverse of {}?",
      "Turn the word {} around and read it backwards.",
    ],
    draw: drawWord,
    answer: (word) => [...word].reverse().join(""),
  },
  {
    name: "capitals",
    signs: ["^"],
    wordings: [
      "Write {} in capital letters.",
      "Make every letter of {} a capital.",
      "Please put {} in upper case.",
      "How does {} look in capitals?",
      "Change the word {} to upper case.",
    ],
    draw: drawWord,
    answer: (word) => word.toUpperCase(),
  },
  {
    name: "next_letter",
    signs: ["+"],
    wordings: [
      "Replace each letter of {} by the next one in the alphabet.",
      "Move every letter of {} one step on in the alphabet.",
      "Please shift {} by one letter.",
      "Write the next letter for each letter of {}.",
      "What does {} become when each letter takes one step?",
    ],
    draw: drawWord,
    answer: (word) => [...word].map(nextLetter).join(""),
  },
  {
    name: "last_word",
    signs: ["$"],
    wordings: [
      "Which word comes last in {}?",
      "Give the last word of the list {}.",
      "What stands at the end of {}?",
      "Please copy the last word of {}.",
      "The list is {}. Which word is at its end?",
    ],
    draw: (draws, split) => drawList(draws, split, 2 + draws.int(2)),
    answer: (list) => list.slice(list.lastIndexOf(",") + 1),
  },
];
