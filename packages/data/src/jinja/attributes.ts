// Longer than most files, because it is three tables. What `.` and `[]` find on a value: methods of Python's types, entries of dicts and lists. Members come from these tables
// alone, so no template reaches a property of a JavaScript object. Methods that would change a list or dict do not exist:
// transformers renders in jinja2's ImmutableSandboxedEnvironment.

import { type Bound, bind, needInteger, needText } from "./arguments.ts";
import type { Budget } from "./budget.ts";
import { braceFormat } from "./format.ts";
import { escapeHtml, str } from "./print.ts";
import * as py from "./text.ts";
import {
  Callable,
  type CallArguments,
  type Dict,
  equal,
  iterate,
  keyOf,
  Markup,
  Members,
  numberOf,
  TemplateError,
  textOf,
  tuple,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
  view,
} from "./values.ts";

interface Method<T> {
  readonly parameters: readonly string[];
  readonly run: (object: T, args: Bound, budget: Budget) => Value;
}
type Methods<T> = ReadonlyMap<string, Method<T>>;

function methods<T>(table: Record<string, readonly [parameters: string, run: Method<T>["run"]]>): Methods<T> {
  return new Map(
    Object.entries(table).map(([name, [parameters, run]]) => [
      name,
      { parameters: parameters === "" ? [] : parameters.split(" "), run },
    ]),
  );
}

/** A text made from another of at most `factor` times its length. */
function made(text: string, budget: Budget): string {
  budget.text(text.length);
  return text;
}

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

const DICT: Methods<Dict> = methods<Dict>({
  copy: ["", (dict, _, budget) => (budget.items(dict.size), new Map(dict))],
  get: ["key default", (dict, args) => dict.get(keyOf(args["key"] ?? null)) ?? args["default"] ?? null],
  items: [
    "",
    (dict, _, budget) => {
      budget.items(2 * dict.size);
      return view(
        "dict_items([…])",
        [...dict].map(([key, item]) => tuple([key, item])),
      );
    },
  ],
  keys: ["", (dict, _, budget) => (budget.items(dict.size), view("dict_keys([…])", dict.keys()))],
  values: ["", (dict, _, budget) => (budget.items(dict.size), view("dict_values([…])", dict.values()))],
});

const LIST: Methods<readonly Value[]> = methods<readonly Value[]>({
  copy: ["", (list, _, budget) => (budget.items(list.length), [...list])],
  count: ["value", (list, args, budget) => list.filter((item) => equal(item, args["value"] ?? null, budget)).length],
  index: [
    "value",
    (list, args, budget) => {
      const at = list.findIndex((item) => equal(item, args["value"] ?? null, budget));
      if (at === -1) throw new TemplateError("the value is not in the list");
      return at;
    },
  ],
});

/** They exist in Python and the sandbox hides them: calling one is an error, not a look-up that failed. */
const HIDDEN = new Map<string, readonly string[]>([
  ["dict", ["clear", "pop", "popitem", "setdefault", "update", "fromkeys"]],
  ["list", ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"]],
]);

function bound<T>(object: T, name: string, method: Method<T>, budget: Budget): Callable {
  return new Callable(name, (args) => method.run(object, bind(name, method.parameters, args), budget));
}

/** A method of markup: texts that go in are escaped, texts that come out are markup. */
function markupMethod(object: Markup, name: string, budget: Budget): Callable | undefined {
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

function textMethod(text: string, name: string, budget: Budget): Callable | undefined {
  if (name === "format") return new Callable(name, (args: CallArguments) => braceFormat(text, args, budget));
  const method = TEXT.get(name);
  return method === undefined ? undefined : bound(text, name, method, budget);
}

function methodOf(object: Value, name: string, budget: Budget): Value | undefined {
  if (typeof object === "string") return textMethod(object, name, budget);
  if (object instanceof Markup) return markupMethod(object, name, budget);
  const hide = (type: string): Value | undefined =>
    HIDDEN.get(type)!.includes(name)
      ? new Undefined(`access to attribute '${name}' of '${type}' object is unsafe.`)
      : undefined;
  if (object instanceof Map) {
    const method = DICT.get(name);
    return method === undefined ? hide("dict") : bound(object, name, method, budget);
  }
  if (Array.isArray(object)) {
    const method = LIST.get(name);
    return method === undefined ? hide("list") : bound<readonly Value[]>(object, name, method, budget);
  }
  if (object instanceof Members) return object.get(name);
  if (object instanceof Callable) return object.members?.get(name);
  return undefined;
}

function missing(object: Value, name: string): Undefined {
  return new Undefined(`'${typeName(object)} object' has no attribute '${name}'`);
}

/** `object.name` */
export function attribute(object: Value, name: string, budget: Budget): Value {
  if (object instanceof Undefined) return name.startsWith("__") ? missing(object, name) : object.fail();
  const method = methodOf(object, name, budget);
  if (method !== undefined) return method;
  return (object instanceof Map ? object.get(name) : undefined) ?? nullOr(object, name) ?? missing(object, name);
}

/** A dict may hold none under that name, which is not the same as holding nothing. */
function nullOr(object: Value, name: string): Value | undefined {
  return object instanceof Map && object.has(name) ? null : undefined;
}

/** `object[key]` */
export function item(object: Value, key: Value, budget: Budget): Value {
  if (object instanceof Undefined) return object.fail();
  if (object instanceof Map) {
    const hashable = key === null || textOf(key) !== undefined || numberOf(key) !== undefined;
    const entry = hashable ? object.get(keyOf(key)) : undefined;
    if (entry !== undefined) return entry;
  }
  const index = typeof key === "boolean" ? Number(key) : key;
  if (typeof index === "number" && !(object instanceof Map)) {
    const text = textOf(object);
    const list =
      text === undefined ? (Array.isArray(object) && isSequence(object) ? object : undefined) : py.points(text, budget);
    const at = list === undefined ? -1 : index < 0 ? list.length + index : index;
    const entry = list?.[at];
    if (entry !== undefined) return object instanceof Markup ? new Markup(entry as string) : entry;
  }
  const name = textOf(key);
  if (name !== undefined) {
    const method = methodOf(object, name, budget);
    if (method !== undefined) return method;
  }
  return new Undefined(
    `'${typeName(object)} object' has no element ${typeof key === "string" ? `'${key}'` : str(key, budget)}`,
  );
}

/** The views of a dict have no order to ask for. */
function isSequence(list: readonly Value[]): boolean {
  return !(list instanceof View) || !list.label.startsWith("dict");
}

/** Python's bounds of a slice with step 1. */
function sliceBounds(length: number, start: Value | undefined, stop: Value | undefined): [number, number] {
  const clamp = (value: Value | undefined, fallback: number): number => {
    const index = needInteger("a slice index", value, fallback);
    return Math.min(length, Math.max(0, index < 0 ? index + length : index));
  };
  return [clamp(start, 0), clamp(stop, length)];
}

/** `object[start:stop:step]` */
export function slice(
  object: Value,
  bounds: { start: Value | undefined; stop: Value | undefined; step: Value | undefined },
  budget: Budget,
): Value {
  if (object instanceof Undefined) return object.fail();
  const text = textOf(object);
  if (text === undefined && !(Array.isArray(object) && isSequence(object))) {
    throw new TemplateError(`'${typeName(object)}' object is not subscriptable`);
  }
  const list: string | readonly Value[] = text === undefined ? (object as Value[]) : py.points(text, budget);
  const step = needInteger("a slice step", bounds.step, 1);
  if (step === 0) throw new TemplateError("slice step cannot be zero");
  let out: string | readonly Value[];
  if (step === 1) {
    const [start, stop] = sliceBounds(list.length, bounds.start, bounds.stop);
    out = list.slice(start, Math.max(start, stop));
  } else {
    const { length } = list;
    const low = step > 0 ? 0 : -1;
    const high = step > 0 ? length : length - 1;
    const clamp = (value: Value | undefined, fallback: number): number => {
      if (value === undefined || value === null) return fallback;
      const index = needInteger("a slice index", value);
      return Math.min(high, Math.max(low, index < 0 ? index + length : index));
    };
    const start = clamp(bounds.start, step > 0 ? low : high);
    const stop = clamp(bounds.stop, step > 0 ? high : low);
    const picked: Value[] = [];
    for (let i = start; step > 0 ? i < stop : i > stop; i += step) picked.push(list[i]!);
    out = picked;
  }
  budget.items(typeof out === "string" ? 0 : out.length);
  if (text !== undefined) {
    const cut = typeof out === "string" ? out : out.join("");
    return object instanceof Markup ? new Markup(made(cut, budget)) : made(cut, budget);
  }
  return object instanceof Tuple ? tuple(out) : [...(out as readonly Value[])];
}
