import { describe, expect, test } from "vitest";
import { baseDocument } from "./base-corpus.ts";
import { mostFrequentShare, sharedContent } from "./disjoint.ts";
import { LEXICON } from "./english.ts";
import { heldOutSet, type Instruction, tuningSet } from "./instructions.ts";
import { withShuffledAnswers } from "./shuffled.ts";
import { DEMO_TASKS } from "./tasks.ts";

const PER_TASK = 100;
const TUNING_ROWS = 4_000;
const BASE_ROWS = 20_000;
const SEEDS = [1, 2, 3];

const baseRows = (seed: number, rows: number) => Array.from({ length: rows }, (_, row) => baseDocument(seed, row));
const contents = (rows: readonly { content: string }[]): string[] => rows.map((row) => row.content);
const answersOf = (rows: readonly Instruction[], task: string): string[] =>
  rows.filter((row) => row.task === task).map((row) => row.answer);

describe("the same seed gives the same text, another seed another", () => {
  test("base corpus", () => {
    expect(baseRows(0, 50)).toEqual(baseRows(0, 50));
    expect(baseRows(0, 50)).not.toEqual(baseRows(1, 50));
    // rows are independent of each other: any one can be drawn alone
    expect(baseDocument(0, 49)).toEqual(baseRows(0, 50)[49]);
  });

  test("tuning and held-out instructions", () => {
    expect(tuningSet(1, 40)).toEqual(tuningSet(1, 40));
    expect(tuningSet(1, 80).slice(0, 40)).toEqual(tuningSet(1, 40));
    expect(tuningSet(1, 40)).not.toEqual(tuningSet(2, 40));
    expect(heldOutSet(1, 10)).toEqual(heldOutSet(1, 10));
    expect(heldOutSet(1, 10)).not.toEqual(heldOutSet(2, 10));
  });

  test("known rows, so that a changed generator does not go unseen", () => {
    expect(tuningSet(1, 4).map(({ prompt, answer }) => `${prompt} ${answer}`)).toMatchInlineSnapshot(`
      [
        "Please reverse "atyid". diyta",
        "How does "vexdis" look in capitals? VEXDIS",
        "Please shift "otsus" by one letter. putvt",
        "Please copy the last word of "xiqqub,pizi,koyol". koyol",
      ]
    `);
    expect([baseDocument(0, 0), baseDocument(0, 100_000)].map((row) => row.prompt + row.answer)).toMatchInlineSnapshot(`
      [
        " $ "tzes,yucqap,farsa" =farsa",
        " spell to + "wapbis" does one right =xbqcjt",
      ]
    `);
  });
});

describe.each(SEEDS)("held-out prompts of seed %i", (seed) => {
  const held = heldOutSet(seed, PER_TASK);

  test("share no content with the base corpus or the tuning set of any seed", () => {
    const base = contents(baseRows(0, BASE_ROWS)).filter((content) => content !== "");
    expect(sharedContent(contents(held), base)).toEqual([]);
    for (const other of SEEDS) {
      const tuning = contents(tuningSet(other, TUNING_ROWS));
      expect(sharedContent(contents(held), tuning)).toEqual([]);
      expect(sharedContent(tuning, base)).toEqual([]);
    }
  });

  test("are at least 100 per task, no content twice within one", () => {
    for (const { name } of DEMO_TASKS) {
      const own = contents(held.filter((row) => row.task === name));
      expect(own.length).toBeGreaterThanOrEqual(100);
      expect(new Set(own).size).toBe(own.length);
    }
  });

  test("no constant answer scores above 10 %", () => {
    expect(mostFrequentShare(held.map((row) => row.answer))).toBeLessThanOrEqual(0.1);
    for (const { name } of DEMO_TASKS) expect(mostFrequentShare(answersOf(held, name))).toBeLessThanOrEqual(0.1);
  });
});

test("sharedContent sees through case, punctuation and lists", () => {
  expect(sharedContent(["Tam-Elo"], ["tam elo"])).toEqual(["tam elo", "tam", "elo"]);
  expect(sharedContent(["abc,DEF"], ["x, def!"])).toEqual(["def"]);
  expect(sharedContent(["abc"], ["abcd", ""])).toEqual([]);
});

test("mostFrequentShare", () => {
  expect(mostFrequentShare(["a", "b", "a", "c"])).toBe(0.5);
  expect(mostFrequentShare([])).toBe(0);
});

describe("tasks", () => {
  test.each([
    ["reverse", "tamelo", "olemat"],
    ["capitals", "tamelo", "TAMELO"],
    ["next_letter", "tazel", "ubafm"],
    ["last_word", "abi,codu,efu", "efu"],
  ])("%s of %s is %s", (name, content, answer) => {
    expect(DEMO_TASKS.find((task) => task.name === name)?.answer(content)).toBe(answer);
  });

  test("instructions quote their content once and never use the notation of the base", () => {
    const corpusStarts = /[<^+$=]/;
    for (const { prompt, content, answer } of [...tuningSet(1, 400), ...heldOutSet(1, 20)]) {
      expect(prompt.split(`"${content}"`)).toHaveLength(2);
      expect(prompt).not.toMatch(corpusStarts);
      expect(answer).not.toBe("");
    }
  });

  test("the base has seen every word of an instruction but those that name a skill", () => {
    const known = new Set(LEXICON);
    const words = DEMO_TASKS.flatMap((task) => task.wordings.flatMap((wording) => wording.match(/[A-Za-z]+/g) ?? []));
    const unknown = [...new Set(words.filter((word) => !known.has(word)))].toSorted();
    // so it cannot guess from the words which of its skills is meant
    expect(unknown).toEqual([
      "backwards",
      "capital",
      "capitals",
      "end",
      "last",
      "next",
      "reverse",
      "shift",
      "step",
      "upper",
    ]);
  });
});

describe("withShuffledAnswers", () => {
  const rows = tuningSet(1, 2_000);
  const shuffled = withShuffledAnswers(rows, 1);

  test("keeps prompts, and the answers of each task as a multiset", () => {
    expect(shuffled.map((row) => row.prompt)).toEqual(rows.map((row) => row.prompt));
    for (const { name } of DEMO_TASKS) {
      expect(answersOf(shuffled, name).toSorted()).toEqual(answersOf(rows, name).toSorted());
    }
  });

  test("leaves hardly any answer at its prompt", () => {
    const kept = shuffled.filter((row, i) => row.answer === rows[i]!.answer).length;
    expect(kept).toBeLessThan(rows.length * 0.02);
    expect(shuffled).toEqual(withShuffledAnswers(rows, 1));
  });
});
