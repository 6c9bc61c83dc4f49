// Proof that the three texts share no content: not just other phrasings, but other words.
import { normaliseContent } from "./content.ts";

/** What two contents may not share: the normalised whole and each of its words. */
export function contentKeys(content: string): string[] {
  const whole = normaliseContent(content);
  return [...new Set([whole, ...whole.split(" ")])].filter((key) => key !== "");
}

/** Every key of `a` that `b` has too, in order of first appearance; empty where the two are disjoint. */
export function sharedContent(a: Iterable<string>, b: Iterable<string>): string[] {
  const keys = new Set<string>();
  for (const content of b) for (const key of contentKeys(content)) keys.add(key);
  const shared = new Set<string>();
  for (const content of a) for (const key of contentKeys(content)) if (keys.has(key)) shared.add(key);
  return [...shared];
}

/** The best score, 0–1, that one constant answer reaches on `answers`; 0 for none. */
export function mostFrequentShare(answers: readonly string[]): number {
  const counts = new Map<string, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  return answers.length === 0 ? 0 : Math.max(...counts.values()) / answers.length;
}
