// Python's string functions. Python counts code points; JavaScript counts UTF-16 units, which is the same only for text
// without surrogates, and that is tested first.

import type { Budget } from "./budget.ts";

/** Python's white space; JavaScript's own also has U+FEFF and lacks U+001C … U+001F and U+0085. */
const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;
const SURROGATE = /[\ud800-\udfff]/;

export function isSpace(char: string): boolean {
  return SPACE.test(char);
}

/** The code points of `text`, as a string where that is the same; else every one is a string of its own, and paid for. */
export function points(text: string, budget: Budget): string | string[] {
  budget.scan(text.length);
  if (!SURROGATE.test(text)) return text;
  budget.items(text.length);
  return [...text];
}

/** The first code points of `text`. */
export function firstPoints(text: string, count: number, budget: Budget): string {
  const cut = points(text, budget).slice(0, count);
  return typeof cut === "string" ? cut : cut.join("");
}

export function lengthOf(text: string, budget: Budget): number {
  budget.scan(text.length);
  return countPoints(text);
}

function countPoints(text: string): number {
  let pairs = 0;
  for (let i = 0; i + 1 < text.length; i++) {
    if ((text.charCodeAt(i) & 0xfc00) === 0xd800 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) pairs++;
  }
  return text.length - pairs;
}

export type Side = "strip" | "lstrip" | "rstrip";

/** Loops, because `/ +$/` takes quadratic time on a text full of spaces. */
export function strip(text: string, side: Side, chars?: string): string {
  const set = chars === undefined ? undefined : new Set(chars);
  const goes = (char: string): boolean => (set === undefined ? isSpace(char) : set.has(char));
  let [start, end] = [0, text.length];
  // a code point of two units goes as a whole or not at all
  const at = (i: number): string => String.fromCodePoint(text.codePointAt(i)!);
  const before = (i: number): string => {
    const low = text.charCodeAt(i - 1);
    const high = i > 1 ? text.charCodeAt(i - 2) : 0;
    return low >= 0xdc00 && low <= 0xdfff && high >= 0xd800 && high <= 0xdbff ? text.slice(i - 2, i) : text[i - 1]!;
  };
  if (side !== "rstrip") while (start < end && goes(at(start))) start += at(start).length;
  if (side !== "lstrip") while (end > start && goes(before(end))) end -= before(end).length;
  return text.slice(start, end);
}

/** `text.split()`; `limit` < 0: no limit */
export function splitSpace(text: string, limit: number, fromRight: boolean): string[] {
  const words: string[] = [];
  if (fromRight) {
    let end = text.length;
    for (;;) {
      while (end > 0 && isSpace(text[end - 1]!)) end--;
      if (end === 0) break;
      if (limit >= 0 && words.length === limit) {
        words.push(strip(text.slice(0, end), "rstrip"));
        break;
      }
      let start = end;
      while (start > 0 && !isSpace(text[start - 1]!)) start--;
      words.push(text.slice(start, end));
      end = start;
    }
    return words.reverse();
  }
  let start = 0;
  for (;;) {
    while (start < text.length && isSpace(text[start]!)) start++;
    if (start === text.length) return words;
    if (limit >= 0 && words.length === limit) {
      words.push(text.slice(start));
      return words;
    }
    let end = start;
    while (end < text.length && !isSpace(text[end]!)) end++;
    words.push(text.slice(start, end));
    start = end;
  }
}

/** `text.split(separator)` */
export function splitBy(text: string, separator: string, limit: number, fromRight: boolean): string[] {
  const parts = text.split(separator);
  if (limit < 0 || parts.length <= limit + 1) return parts;
  return fromRight
    ? [parts.slice(0, parts.length - limit).join(separator), ...parts.slice(parts.length - limit)]
    : [...parts.slice(0, limit), parts.slice(limit).join(separator)];
}

const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;

/** `text.splitlines()` */
export function splitLines(text: string, keepEnds: boolean): string[] {
  const lines: string[] = [];
  let start = 0;
  for (const match of text.matchAll(LINE_END)) {
    const end = match.index + match[0].length;
    lines.push(text.slice(start, keepEnds ? end : match.index));
    start = end;
  }
  if (start < text.length) lines.push(text.slice(start));
  return lines;
}

/** `text.replace(old, new, count)`; the caller pays for the result. */
export function countOf(text: string, part: string): number {
  if (part === "") return countPoints(text) + 1;
  let count = 0;
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

export function replace(text: string, old: string, by: string, count: number, budget: Budget): string {
  budget.scan(text.length, Math.max(1, old.length));
  const found = countOf(text, old);
  const times = count < 0 ? found : Math.min(found, count);
  if (times === 0) return text;
  budget.text(text.length + times * Math.max(0, by.length - old.length));
  budget.items(times);
  if (old !== "") {
    const parts = text.split(old);
    return (
      parts.slice(0, times + 1).join(by) + (parts.length > times + 1 ? old + parts.slice(times + 1).join(old) : "")
    );
  }
  const chars = points(text, budget);
  let out = "";
  for (let i = 0; i <= chars.length; i++) out += (i < times ? by : "") + (chars[i] ?? "");
  return out;
}

const CASED = /[\p{Lu}\p{Ll}\p{Lt}]/u;

/** `text.title()`: a letter behind a letter is small. */
export function title(text: string): string {
  let out = "";
  let inWord = false;
  for (const char of text) {
    out += inWord ? char.toLowerCase() : titleChar(char);
    inWord = CASED.test(char);
  }
  return out;
}

function titleChar(char: string): string {
  const upper = char.toUpperCase();
  return upper.length > 1 && char.length === 1 ? upper[0]! + upper.slice(1).toLowerCase() : upper;
}

export function capitalize(text: string): string {
  const [first = ""] = text;
  return titleChar(first) + text.slice(first.length).toLowerCase();
}

export function isUpper(text: string): boolean {
  return CASED.test(text) && text === text.toUpperCase();
}

export function isLower(text: string): boolean {
  return CASED.test(text) && text === text.toLowerCase();
}

/** Pads to `width` code points; `share` of what is missing goes to the left. */
export function pad(
  text: string,
  width: number,
  fill: string,
  share: "left" | "right" | "center",
  budget: Budget,
): string {
  if (width <= 0) return text;
  const missing = width - lengthOf(text, budget);
  if (missing <= 0) return text;
  budget.text(text.length + missing * fill.length);
  // CPython: the odd one goes left where width is odd, too
  const left = share === "left" ? missing : share === "right" ? 0 : Math.floor(missing / 2) + (missing & width & 1);
  return fill.repeat(left) + text + fill.repeat(missing - left);
}
