// Methods of Python's `str`, and of markupsafe's `Markup`.

import { type Bound, needInteger, needText } from "../arguments.ts";
import type { Budget } from "../budget.ts";
import { braceFormat } from "../format.ts";
import { escapeHtml } from "../print.ts";
import * as py from "../text.ts";
import {
  Callable,
  type CallArguments,
  iterate,
  Markup,
  TemplateError,
  tuple,
  Tuple,
  Undefined,
  type Value,
} from "../values.ts";
import { sliceBounds } from "../slices.ts";
import { bound, made, type Method, type Methods, methods } from "./method.ts";

/** The part of `text` from `start` to `end` in code points, as `find` and the like take them. */
function part(text: string, args: Bound, budget: Budget): { inside: string; offset: number } {
  if (args["start"] === undefined && args["end"] === undefined) return { inside: text, offset: 0 };
  const chars = py.points(text, budget);
  const [start, stop] = sliceBounds(chars.length, args["start"], args["end"]);
  const inside = chars.slice(start, Math.max(start, stop));
  return { inside: typeof inside === "string" ? inside : inside.join(""), offset: start };
}

function find(text: string, args: Bound, budget: Budget, last: boolean): number {
  const sub = needText("find: the text", args["sub"]);
  const { inside, offset } = part(text, args, budget);
  budget.scan(inside.length, sub.length);
  const at = last ? inside.lastIndexOf(sub) : inside.indexOf(sub);
  return at === -1 ? -1 : offset + py.lengthOf(inside.slice(0, at), budget);
}

function startsOrEnds(text: string, args: Bound, budget: Budget, ends: boolean): boolean {
  const { inside } = part(text, args, budget);
  const wanted = args["prefix"];
  const all = wanted instanceof Tuple ? wanted : [wanted];
  return all.some((one) => {
    const affix = needText(ends ? "endswith first arg" : "startswith first arg", one);
    budget.scan(affix.length);
    return ends ? inside.endsWith(affix) : inside.startsWith(affix);
  });
}

function split(text: string, args: Bound, budget: Budget, fromRight: boolean): Value {
  const separator = args["sep"] ?? null;
  const limit = needInteger("maxsplit", args["maxsplit"], -1);
  let words: string[];
  if (separator === null) {
    budget.step(text.length / 8);
    words = py.splitSpace(text, limit, fromRight);
  } else {
    const by = needText("the separator", separator);
    if (by === "") throw new TemplateError("empty separator");
    budget.scan(text.length, by.length);
    budget.items(py.countOf(text, by) + 1);
    words = py.splitBy(text, by, limit, fromRight);
  }
  budget.items(words.length);
  budget.text(text.length);
  return words;
}

function partition(text: string, args: Bound, budget: Budget, last: boolean): Value {
  const separator = needText("the separator", args["sep"]);
  if (separator === "") throw new TemplateError("empty separator");
  budget.scan(text.length, separator.length);
  const at = last ? text.lastIndexOf(separator) : text.indexOf(separator);
  if (at === -1) return last ? tuple(["", "", text]) : tuple([text, "", ""]);
  return tuple([text.slice(0, at), separator, text.slice(at + separator.length)]);
}

function every(text: string, pattern: RegExp, budget: Budget): boolean {
  budget.scan(text.length);
  return pattern.test(text);
}

/** A width of a pad: what it costs is paid for in `pad`. */
function padded(text: string, args: Bound, share: "left" | "right" | "center", budget: Budget): string {
  return py.pad(text, needInteger("width", args["width"]), fillOf(args), share, budget);
}

function fillOf(args: Bound): string {
  const fill = args["fillchar"] === undefined ? " " : needText("the fill character", args["fillchar"]);
  if ([...fill].length !== 1) throw new TemplateError("The fill character must be exactly one character long");
  return fill;
}

const STRIP = "chars";
function stripped(side: py.Side): readonly [string, Method<string>["run"]] {
  return [
    STRIP,
    (text, args, budget) => {
      budget.step(text.length / 8); // a search in a set per character
      const chars = args["chars"] ?? null;
      return py.strip(text, side, chars === null ? undefined : needText(`${side} arg`, chars));
    },
  ];
}

const TEXT: Methods<string> = methods<string>({
  capitalize: ["", (text, _, budget) => made(py.capitalize(text), budget)],
  casefold: ["", (text, _, budget) => made(text.toLowerCase().replaceAll("ß", "ss"), budget)],
  center: ["width fillchar", (text, args, budget) => padded(text, args, "center", budget)],
  count: [
    "sub start end",
    (text, args, budget) => {
      const sub = needText("count: the text", args["sub"]);
      const { inside } = part(text, args, budget);
      budget.scan(inside.length, sub.length);
      return py.countOf(inside, sub);
    },
  ],
  endswith: ["prefix start end", (text, args, budget) => startsOrEnds(text, args, budget, true)],
  expandtabs: [
    "tabsize",
    (text, args, budget) => {
      const size = needInteger("tabsize", args["tabsize"], 8);
      budget.text(text.length + py.countOf(text, "\t") * Math.max(0, size));
      let column = 0;
      let out = "";
      for (const char of text) {
        const blanks = size > 0 ? size - (column % size) : 0;
        out += char === "\t" ? " ".repeat(blanks) : char;
        column = char === "\n" || char === "\r" ? 0 : column + (char === "\t" ? blanks : 1);
      }
      return out;
    },
  ],
  find: ["sub start end", (text, args, budget) => find(text, args, budget, false)],
  index: ["sub start end", (text, args, budget) => found(find(text, args, budget, false))],
  isalnum: ["", (text, _, budget) => every(text, /^[\p{L}\p{N}]+$/u, budget)],
  isalpha: ["", (text, _, budget) => every(text, /^\p{L}+$/u, budget)],
  isascii: ["", (text, _, budget) => every(text, /^[\x00-\x7f]*$/, budget)],
  isdecimal: ["", (text, _, budget) => every(text, /^\p{Nd}+$/u, budget)],
  isdigit: ["", (text, _, budget) => every(text, /^[\p{Nd}²³¹⁰⁴-⁹₀-₉]+$/u, budget)],
  isidentifier: ["", (text, _, budget) => every(text, /^[\p{L}_][\p{L}\p{N}_]*$/u, budget)],
  islower: ["", (text, _, budget) => (budget.scan(text.length), py.isLower(text))],
  isnumeric: ["", (text, _, budget) => every(text, /^\p{N}+$/u, budget)],
  isspace: ["", (text, _, budget) => (budget.scan(text.length), text !== "" && py.strip(text, "strip") === "")],
  istitle: [
    "",
    (text, _, budget) => (budget.scan(text.length), text !== text.toLowerCase() && py.title(text) === text),
  ],
  isupper: ["", (text, _, budget) => (budget.scan(text.length), py.isUpper(text))],
  join: ["iterable", (text, args, budget) => join(text, args["iterable"], budget)],
  ljust: ["width fillchar", (text, args, budget) => padded(text, args, "right", budget)],
  lower: ["", (text, _, budget) => made(text.toLowerCase(), budget)],
  lstrip: stripped("lstrip"),
  partition: ["sep", (text, args, budget) => partition(text, args, budget, false)],
  removeprefix: [
    "prefix",
    (text, args) => {
      const prefix = needText("removeprefix() argument", args["prefix"]);
      return text.startsWith(prefix) ? text.slice(prefix.length) : text;
    },
  ],
  removesuffix: [
    "suffix",
    (text, args) => {
      const suffix = needText("removesuffix() argument", args["suffix"]);
      return suffix !== "" && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;
    },
  ],
  replace: [
    "old new count",
    (text, args, budget) =>
      py.replace(
        text,
        needText("replace() argument 1", args["old"]),
        needText("replace() argument 2", args["new"]),
        needInteger("count", args["count"], -1),
        budget,
      ),
  ],
  rfind: ["sub start end", (text, args, budget) => find(text, args, budget, true)],
  rindex: ["sub start end", (text, args, budget) => found(find(text, args, budget, true))],
  rjust: ["width fillchar", (text, args, budget) => padded(text, args, "left", budget)],
  rpartition: ["sep", (text, args, budget) => partition(text, args, budget, true)],
  rsplit: ["sep maxsplit", (text, args, budget) => split(text, args, budget, true)],
  rstrip: stripped("rstrip"),
  split: ["sep maxsplit", (text, args, budget) => split(text, args, budget, false)],
  splitlines: [
    "keepends",
    (text, args, budget) => {
      budget.step(text.length / 8);
      const lines = py.splitLines(text, args["keepends"] === true);
      budget.items(lines.length);
      return lines;
    },
  ],
  startswith: ["prefix start end", (text, args, budget) => startsOrEnds(text, args, budget, false)],
  strip: stripped("strip"),
  swapcase: [
    "",
    (text, _, budget) => {
      budget.step(text.length / 8);
      return made(
        [...py.points(text, budget)].map((c) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase())).join(""),
        budget,
      );
    },
  ],
  title: ["", (text, _, budget) => (budget.step(text.length / 8), made(py.title(text), budget))],
  upper: ["", (text, _, budget) => made(text.toUpperCase(), budget)],
  zfill: [
    "width",
    (text, args, budget) => {
      const sign = /^[-+]/.test(text) ? text[0]! : "";
      const width = needInteger("width", args["width"]) - sign.length;
      return sign + py.pad(text.slice(sign.length), width, "0", "left", budget);
    },
  ],
});

function found(at: number): number {
  if (at === -1) throw new TemplateError("substring not found");
  return at;
}

/** `separator.join(items)` */
export function join(separator: string, items: Value | undefined, budget: Budget): string {
  const parts = iterate(items ?? new Undefined("join() takes exactly one argument"), budget);
  const texts = parts.map((item, i) => needText(`sequence item ${i}`, item));
  return joined(separator, texts, budget);
}

export function joined(separator: string, texts: readonly string[], budget: Budget): string {
  budget.items(texts.length);
  budget.text(texts.reduce((sum, text) => sum + text.length, separator.length * Math.max(0, texts.length - 1)));
  return texts.join(separator);
}

/** A method of markup: texts that go in are escaped, texts that come out are markup. */
export function markupMethod(object: Markup, name: string, budget: Budget): Callable | undefined {
  const plain = textMethod(object.text, name, budget);
  if (plain === undefined) return undefined;
  const escapes = name === "join" || name === "replace" || name === "format";
  const inward = (value: Value): Value => {
    if (typeof value === "string") return escapeHtml(value, budget);
    return Array.isArray(value) ? value.map(inward) : value;
  };
  const outward = (value: Value): Value => {
    if (typeof value === "string") return new Markup(value);
    return Array.isArray(value) ? value.map(outward) : value;
  };
  return new Callable(name, ({ positional, named }) => {
    if (!escapes) return outward(plain.call({ positional, named }));
    const all = {
      positional: positional.map(inward),
      named: new Map([...named].map(([key, value]) => [key, inward(value)])),
    };
    return outward(plain.call(all));
  });
}

export function textMethod(text: string, name: string, budget: Budget): Callable | undefined {
  if (name === "format") return new Callable(name, (args: CallArguments) => braceFormat(text, args, budget));
  const method = TEXT.get(name);
  return method === undefined ? undefined : bound(text, name, method, budget);
}
