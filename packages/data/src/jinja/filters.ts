// Longer than most files, because it is a table. jinja2's filters (jinja2/filters.py), with `tojson` as transformers defines it.

import { type Bound, bind, needInteger, needText } from "./arguments.ts";
import { attribute, item, join as joinTexts, joined } from "./attributes.ts";
import type { Budget } from "./budget.ts";
import { percentFormat } from "./format.ts";
import { binary, sizeOf } from "./operators.ts";
import { escapeHtml, json, str } from "./print.ts";
import * as py from "./text.ts";
import {
  type CallArguments,
  compare,
  equal,
  Float,
  Generator,
  iterate,
  Markup,
  numberOf,
  TemplateError,
  textOf,
  truth,
  tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** What a filter may ask of the interpreter. */
export interface Host {
  readonly budget: Budget;
  test(name: string, value: Value, args: readonly Value[]): boolean;
}

type Filter = (value: Value, args: CallArguments, host: Host, name: string) => Value;

function filter(parameters: string, run: (value: Value, args: Bound, host: Host) => Value): Filter {
  const names = parameters === "" ? [] : parameters.split(" ");
  return (value, args, host, name) => run(value, bind(name, names, args), host);
}

/** A filter of text: what is not text is printed first, markup stays markup. */
function textFilter(parameters: string, run: (text: string, args: Bound, budget: Budget) => string): Filter {
  return filter(parameters, (value, args, { budget }) => {
    const out = run(str(value, budget), args, budget);
    budget.text(out.length);
    return value instanceof Markup ? new Markup(out) : out;
  });
}

/** The `attribute` of jinja2: a path with points, whose numbers are indices. */
function getter(path: Value | undefined, budget: Budget, fallback?: Value): (value: Value) => Value {
  if (path === undefined || path === null) return (value) => value;
  const parts =
    typeof path === "number"
      ? [path]
      : needText("attribute", path)
          .split(".")
          .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  return (value) => {
    let at = value;
    for (const part of parts) {
      at = item(at, part, budget);
      if (at instanceof Undefined && fallback !== undefined && fallback !== null) at = fallback;
    }
    return at;
  };
}

function folded(value: Value, caseSensitive: boolean): Value {
  const text = textOf(value);
  return caseSensitive || text === undefined ? value : text.toLowerCase();
}

function sorted(items: readonly Value[], key: (value: Value) => Value, reverse: boolean, budget: Budget): Value[] {
  budget.items(3 * items.length);
  const keyed = items.map((value) => ({ value, key: key(value) }));
  // stable in both directions, as Python's is
  const sign = reverse ? -1 : 1;
  keyed.sort((a, b) => sign * compare(a.key, b.key, budget));
  return keyed.map(({ value }) => value);
}

const sort: Filter = filter("reverse case_sensitive attribute", (value, args, { budget }) => {
  const caseSensitive = truth(args["case_sensitive"] ?? false);
  const attributes = typeof args["attribute"] === "string" ? args["attribute"].split(",") : [args["attribute"]];
  const getters = attributes.map((one) => getter(one, budget));
  const key = (entry: Value): Value => {
    const parts = getters.map((get) => folded(get(entry), caseSensitive));
    return tuple(parts); // as a list, so that equal entries need no order: none sorts beside none
  };
  return sorted(iterate(value, budget), key, truth(args["reverse"] ?? false), budget);
});

const dictsort: Filter = filter("case_sensitive by reverse", (value, args, { budget }) => {
  if (!(value instanceof Map)) throw new TemplateError(`dictsort needs a dict, not ${typeName(value)}`);
  const by = args["by"] ?? "key";
  if (by !== "key" && by !== "value") throw new TemplateError("You can only sort by either 'key' or 'value'");
  const caseSensitive = truth(args["case_sensitive"] ?? false);
  budget.items(2 * value.size);
  const pairs = [...value].map(([key, entry]) => tuple([key, entry]));
  const index = by === "key" ? 0 : 1;
  return sorted(
    pairs,
    (pair) => folded((pair as Value[])[index]!, caseSensitive),
    truth(args["reverse"] ?? false),
    budget,
  );
});

function extreme(wanted: 1 | -1): Filter {
  return filter("case_sensitive attribute", (value, args, { budget }) => {
    const get = getter(args["attribute"], budget);
    const caseSensitive = truth(args["case_sensitive"] ?? false);
    let best: { value: Value; key: Value } | undefined;
    for (const entry of iterate(value, budget)) {
      const key = folded(get(entry), caseSensitive);
      if (best === undefined || wanted * compare(key, best.key, budget) > 0) best = { value: entry, key };
    }
    return best?.value ?? new Undefined("No aggregated item, sequence was empty.");
  });
}

/** select, reject, selectattr, rejectattr */
function selection(keep: boolean, byAttribute: boolean): Filter {
  return (value, { positional, named }, host, name) => {
    if (named.size > 0) throw new TemplateError(`${name}() takes no keyword arguments`);
    const [first, ...others] = positional;
    if (byAttribute && first === undefined) throw new TemplateError("Missing parameter for attribute name");
    const get = byAttribute ? getter(first, host.budget) : getter(undefined, host.budget);
    const [test, ...args] = byAttribute ? others : positional;
    const holds = (entry: Value): boolean =>
      test === undefined ? truth(get(entry)) : host.test(needText("the name of a test", test), get(entry), args);
    if (!truth(value) && !(value instanceof Generator)) return new Generator([]);
    const entries = iterate(value, host.budget);
    host.budget.items(entries.length);
    return new Generator(entries.filter((entry) => holds(entry) === keep));
  };
}

const map: Filter = (value, { positional, named }, host) => {
  const { budget } = host;
  const entries = truth(value) || value instanceof Generator ? iterate(value, budget) : [];
  budget.items(entries.length);
  if (positional.length === 0) {
    const { attribute: path, default: fallback } = bind("map", ["attribute", "default"], { positional, named });
    if (path === undefined) throw new TemplateError("map requires a filter argument");
    return new Generator(entries.map(getter(path, budget, fallback)));
  }
  const name = needText("the name of a filter", positional[0]);
  const args = { positional: positional.slice(1), named };
  return new Generator(entries.map((entry) => runFilter(name, entry, args, host)));
};

const join: Filter = filter("d attribute", (value, args, { budget }) => {
  const get = getter(args["attribute"], budget);
  const separator = str(args["d"] ?? "", budget);
  const entries = iterate(value, budget);
  return joined(
    separator,
    entries.map((entry) => str(get(entry), budget)),
    budget,
  );
});

/** jinja2 asks these for `splitlines` without printing them first. */
function ofText(run: Filter): Filter {
  return (value, args, host, name) => {
    needText(name, value);
    return run(value, args, host, name);
  };
}

const indent = textFilter("width first blank", (text, args, budget) => {
  const width = args["width"] ?? 4;
  const prefix =
    typeof width === "string" ? width : " ".repeat(Math.min(1 << 16, Math.max(0, needInteger("width", width))));
  budget.step(text.length / 8);
  const lines = py.splitLines(`${text}\n`, false);
  budget.text(text.length + lines.length * (prefix.length + 1));
  const blank = truth(args["blank"] ?? false);
  const rest = lines.slice(1).map((line) => (blank || line !== "" ? prefix + line : line));
  return (truth(args["first"] ?? false) ? prefix : "") + [lines[0]!, ...rest].join("\n");
});

function toInteger(value: Value, args: Bound): Value {
  const fallback = args["default"] ?? 0;
  if (value instanceof Undefined) value.fail();
  const text = textOf(value);
  if (text === undefined) {
    const number = numberOf(value);
    return number === undefined || !Number.isFinite(number) ? fallback : Math.trunc(number);
  }
  const clean = py.strip(text, "strip");
  const base = needInteger("base", args["base"], 10);
  if (/^[-+]?\d+(_\d+)*$/.test(clean) && base === 10) return safe(Number(clean.replaceAll("_", "")), fallback);
  if (base !== 10) {
    const digits = clean.replace(/^([-+]?)0[xXoObB]/, "$1").toLowerCase();
    const number = parseInt(digits, base);
    return /^[-+]?[\da-z]+$/.test(digits) && !Number.isNaN(number) ? safe(number, fallback) : fallback;
  }
  const float = floatOf(clean);
  return float === undefined || !Number.isFinite(float) ? fallback : safe(Math.trunc(float), fallback);
}

function safe(number: number, fallback: Value): Value {
  return Number.isSafeInteger(number) ? number : fallback;
}

function floatOf(text: string): number | undefined {
  if (/^[-+]?(\d+(_\d+)*\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(text)) return Number(text.replaceAll("_", ""));
  const special = /^([-+]?)(inf|infinity|nan)$/i.exec(text);
  if (special === null) return undefined;
  return special[2]!.toLowerCase() === "nan" ? NaN : special[1] === "-" ? -Infinity : Infinity;
}

const round: Filter = filter("precision method", (value, args) => {
  const number = numberOf(value);
  if (number === undefined) throw new TemplateError(`round needs a number, not ${typeName(value)}`);
  const precision = needInteger("precision", args["precision"], 0);
  const method = args["method"] ?? "common";
  if (method !== "common" && method !== "ceil" && method !== "floor") {
    throw new TemplateError("method must be common, ceil or floor");
  }
  const scale = 10 ** precision;
  if (method === "common") return value instanceof Float ? new Float(roundHalfEven(number, precision)) : number;
  return new Float(Math[method](number * scale) / scale);
});

/** Python's `round`: correctly rounded from the exact binary value, ties to even. */
function roundHalfEven(value: number, precision: number): number {
  if (precision <= 0 || precision > 100) {
    const scale = 10 ** -precision;
    const scaled = value / scale;
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    return (rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor) * scale;
  }
  // toFixed works on the exact value, but takes ties away from zero
  const digits = Math.abs(value).toFixed(Math.min(100, precision + 25));
  const tie = digits.endsWith(`5${"0".repeat(24)}`) && precision <= 75;
  if (!tie || Number(digits.at(-26)) % 2 === 1) return Number(value.toFixed(precision));
  return Math.sign(value) * Number(digits.slice(0, -25));
}

const groupby: Filter = filter("attribute default case_sensitive", (value, args, { budget }) => {
  const get = getter(args["attribute"], budget, args["default"]);
  const caseSensitive = truth(args["case_sensitive"] ?? false);
  const key = (entry: Value): Value => folded(get(entry), caseSensitive);
  const groups: Value[] = [];
  let members: Value[] = [];
  let last: Value | undefined;
  for (const entry of sorted(iterate(value, budget), key, false, budget)) {
    if (last === undefined || !equal(key(entry), last, budget)) {
      last = key(entry);
      members = [];
      groups.push(tuple([get(entry), members]));
    }
    members.push(entry);
  }
  return groups;
});

function chunks(items: readonly Value[], size: number): Value[][] {
  const out: Value[][] = [];
  for (let at = 0; at < items.length; at += size) out.push(items.slice(at, at + size));
  return out;
}

const batch: Filter = filter("linecount fill_with", (value, args, { budget }) => {
  const items = iterate(value, budget);
  const size = Math.max(1, needInteger("linecount", args["linecount"]));
  budget.items(items.length + size);
  const rows = chunks(items, size);
  const fill = args["fill_with"] ?? null;
  const last = rows.at(-1);
  if (fill !== null && last !== undefined) while (last.length < size) last.push(fill);
  return new Generator(rows);
});

const slices: Filter = filter("slices fill_with", (value, args, { budget }) => {
  const items = iterate(value, budget);
  const count = needInteger("slices", args["slices"]);
  if (count < 1) throw new TemplateError("slice needs at least one part");
  budget.items(items.length + 2 * count);
  const size = Math.floor(items.length / count);
  const more = items.length % count;
  const rows: Value[][] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const end = at + size + (i < more ? 1 : 0);
    const row = items.slice(at, end);
    if (args["fill_with"] !== undefined && args["fill_with"] !== null && i >= more) row.push(args["fill_with"]);
    rows.push(row);
    at = end;
  }
  return new Generator(rows);
});

const unique: Filter = filter("case_sensitive attribute", (value, args, { budget }) => {
  const get = getter(args["attribute"], budget);
  const caseSensitive = truth(args["case_sensitive"] ?? false);
  const seen: Value[] = [];
  const out: Value[] = [];
  for (const entry of iterate(value, budget)) {
    const key = folded(get(entry), caseSensitive);
    if (seen.some((other) => equal(other, key, budget))) continue;
    seen.push(key);
    out.push(entry);
  }
  budget.items(2 * out.length);
  return new Generator(out);
});

const reverse: Filter = filter("", (value, _, { budget }) => {
  const text = textOf(value);
  if (text === undefined) {
    const items = iterate(value, budget);
    budget.items(items.length);
    return new Generator(items.toReversed());
  }
  budget.text(text.length);
  return [...py.points(text, budget)].toReversed().join("");
});

const truncate = textFilter("length killwords end leeway", (text, args, budget) => {
  const length = needInteger("length", args["length"], 255);
  const end = args["end"] === undefined ? "..." : needText("end", args["end"]);
  const leeway = needInteger("leeway", args["leeway"], 5);
  budget.step(text.length / 8);
  const chars = py.points(text, budget);
  const endLength = [...end].length;
  if (length < endLength) throw new TemplateError(`expected length >= ${endLength}, got ${length}`);
  if (chars.length <= length + leeway) return text;
  const cut = py.firstPoints(text, length - endLength, budget);
  if (truth(args["killwords"] ?? false)) return cut + end;
  const space = cut.lastIndexOf(" ");
  return (space === -1 ? cut : cut.slice(0, space)) + end;
});

const wordwrap = textFilter("width break_long_words wrapstring break_on_hyphens", (text, args, budget) => {
  const width = needInteger("width", args["width"], 79);
  if (width < 1) throw new TemplateError("invalid width (must be > 0)");
  const separator =
    args["wrapstring"] === undefined || args["wrapstring"] === null ? "\n" : needText("wrapstring", args["wrapstring"]);
  budget.step(text.length / 4);
  const lines = py.splitLines(text, false).map((line) => {
    const out: string[] = [];
    let current = "";
    for (const word of line.split(/( +)/)) {
      let rest = word;
      if (current.length + rest.length <= width) {
        current += rest;
        continue;
      }
      if (current.trim() !== "") out.push(current.trimEnd());
      current = "";
      if (/^ +$/.test(rest)) continue;
      while (rest.length > width && args["break_long_words"] !== false) {
        out.push(rest.slice(0, width));
        rest = rest.slice(width);
      }
      current = rest;
    }
    if (current.trim() !== "") out.push(current.trimEnd());
    return joined(separator, out, budget);
  });
  return joined(separator, lines, budget);
});

const title = textFilter("", (text, _, budget) => {
  budget.step(text.length / 4);
  return text
    .split(/([-\s({[<]+)/)
    .map((word) => word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase())
    .join("");
});

const tojson: Filter = filter("ensure_ascii indent separators sort_keys", (value, args, { budget }) => {
  const width = args["indent"] ?? null;
  const indent =
    width === null
      ? undefined
      : typeof width === "string"
        ? width
        : " ".repeat(Math.min(1 << 10, Math.max(0, needInteger("indent", width))));
  const separators = args["separators"] ?? null;
  const pair = separators === null ? undefined : iterate(separators, budget).map((one) => needText("a separator", one));
  if (pair !== undefined && pair.length !== 2) throw new TemplateError("separators must be a pair");
  return json(
    value,
    {
      ensureAscii: truth(args["ensure_ascii"] ?? false),
      indent,
      itemSeparator: pair?.[0] ?? (indent === undefined ? ", " : ","),
      keySeparator: pair?.[1] ?? ": ",
      sortKeys: truth(args["sort_keys"] ?? false),
    },
    budget,
  );
});

const length: Filter = filter("", (value, _, { budget }) => sizeOf(value, budget));
const escape: Filter = filter("", (value, _, { budget }) =>
  value instanceof Markup ? value : new Markup(escapeHtml(str(value, budget), budget)),
);
const fallback: Filter = filter("default_value boolean", (value, args) =>
  value instanceof Undefined || (truth(args["boolean"] ?? false) && !truth(value))
    ? (args["default_value"] ?? "")
    : value,
);

const FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  [
    "abs",
    filter("", (value) => {
      if (value instanceof Float) return new Float(Math.abs(value.value));
      const number = numberOf(value);
      if (number === undefined) throw new TemplateError(`bad operand type for abs(): '${typeName(value)}'`);
      return Math.abs(number);
    }),
  ],
  [
    "attr",
    filter("name", (value, args, { budget }) =>
      value instanceof Map && !["get", "items", "keys", "values", "copy"].includes(needText("name", args["name"]))
        ? new Undefined(`'dict object' has no attribute '${needText("name", args["name"])}'`)
        : attribute(value, needText("name", args["name"]), budget),
    ),
  ],
  ["batch", batch],
  ["capitalize", textFilter("", (text) => py.capitalize(text))],
  [
    "center",
    textFilter("width", (text, args, budget) =>
      py.pad(text, needInteger("width", args["width"], 80), " ", "center", budget),
    ),
  ],
  ["count", length],
  ["d", fallback],
  ["default", fallback],
  ["dictsort", dictsort],
  ["e", escape],
  ["escape", escape],
  [
    "first",
    filter("", (value, _, { budget }) => {
      const items = iterate(value, budget);
      return items.length === 0 ? new Undefined("No first item, sequence was empty.") : items[0]!;
    }),
  ],
  [
    "float",
    filter("default", (value, args) => {
      if (value instanceof Undefined) value.fail();
      const text = textOf(value);
      const number = text === undefined ? numberOf(value) : floatOf(py.strip(text, "strip"));
      return number === undefined ? (args["default"] ?? new Float(0)) : new Float(number);
    }),
  ],
  ["forceescape", filter("", (value, _, { budget }) => new Markup(escapeHtml(str(value, budget), budget)))],
  [
    "format",
    (value, { positional, named }, { budget }) => {
      if (positional.length > 0 && named.size > 0)
        throw new TemplateError("can't handle positional and keyword arguments at the same time");
      return percentFormat(str(value, budget), named.size > 0 ? new Map(named) : tuple(positional), budget);
    },
  ],
  ["groupby", groupby],
  ["indent", ofText(indent)],
  ["int", filter("default base", toInteger)],
  [
    "items",
    filter("", (value, _, { budget }) => {
      if (value instanceof Undefined) return new Generator([]);
      if (!(value instanceof Map)) throw new TemplateError("Can only get item pairs from a mapping.");
      budget.items(2 * value.size);
      return new Generator([...value].map(([key, entry]) => tuple([key, entry])));
    }),
  ],
  ["join", join],
  [
    "last",
    filter("", (value, _, { budget }) => {
      if (value instanceof Generator) throw new TemplateError("'generator' object is not reversible");
      const items = iterate(value, budget);
      return items.length === 0 ? new Undefined("No last item, sequence was empty.") : items.at(-1)!;
    }),
  ],
  ["length", length],
  [
    "list",
    filter("", (value, _, { budget }) => {
      const items = iterate(value, budget);
      budget.items(items.length);
      return [...items];
    }),
  ],
  ["lower", textFilter("", (text) => text.toLowerCase())],
  ["map", map],
  ["max", extreme(1)],
  ["min", extreme(-1)],
  ["reject", selection(false, false)],
  ["rejectattr", selection(false, true)],
  [
    "replace",
    filter("old new count", (value, args, { budget }) =>
      py.replace(
        str(value, budget),
        str(args["old"] ?? "", budget),
        str(args["new"] ?? "", budget),
        needInteger("count", args["count"], -1),
        budget,
      ),
    ),
  ],
  ["reverse", reverse],
  ["round", round],
  ["safe", filter("", (value, _, { budget }) => new Markup(str(value, budget)))],
  ["select", selection(true, false)],
  ["selectattr", selection(true, true)],
  ["slice", slices],
  ["sort", sort],
  ["string", filter("", (value, _, { budget }) => (value instanceof Markup ? value : str(value, budget)))],
  [
    "striptags",
    textFilter("", (text, _, budget) => {
      budget.step(text.length / 4);
      let out = "";
      let from = 0;
      for (let open = text.indexOf("<"); open !== -1; open = text.indexOf("<", from)) {
        const comment = text.startsWith("<!--", open);
        const close = comment ? text.indexOf("-->", open) + 2 : text.indexOf(">", open);
        if (close < open) break;
        out += text.slice(from, open);
        from = close + 1;
      }
      return py.splitSpace(out + text.slice(from), -1, false).join(" ");
    }),
  ],
  [
    "sum",
    filter("attribute start", (value, args, { budget }) => {
      const get = getter(args["attribute"], budget);
      return iterate(value, budget).reduce<Value>(
        (sum, entry) => binary("+", sum, get(entry), budget),
        args["start"] ?? 0,
      );
    }),
  ],
  ["title", title],
  ["tojson", tojson],
  [
    "trim",
    textFilter("chars", (text, args) =>
      py.strip(
        text,
        "strip",
        args["chars"] === undefined || args["chars"] === null ? undefined : needText("chars", args["chars"]),
      ),
    ),
  ],
  ["truncate", truncate],
  ["unique", unique],
  ["upper", textFilter("", (text) => text.toUpperCase())],
  [
    "urlencode",
    filter("", (value, _, { budget }) => {
      const encode = (one: Value, slash: boolean): string => {
        const text = str(one, budget);
        budget.text(9 * text.length);
        const quoted = encodeURIComponent(text).replace(
          /[!'()*]/g,
          (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
        );
        return slash ? quoted.replaceAll("%2F", "/") : quoted.replaceAll("%20", "+");
      };
      if (!(value instanceof Map || Array.isArray(value) || value instanceof Generator)) return encode(value, true);
      const pairs =
        value instanceof Map
          ? [...value].map(([key, entry]) => [key, entry])
          : iterate(value, budget).map((pair) => iterate(pair, budget));
      return joinTexts(
        "&",
        pairs.map(([key, entry]) => `${encode(key!, false)}=${encode(entry!, false)}`),
        budget,
      );
    }),
  ],
  [
    "wordcount",
    filter("", (value, _, { budget }) => {
      const text = str(value, budget);
      budget.step(text.length / 8);
      return text.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0;
    }),
  ],
  ["wordwrap", ofText(wordwrap)],
]);

export const FILTER_NAMES: ReadonlySet<string> = new Set(FILTERS.keys());

/** @throws TemplateError where the filter does not exist or refuses the value */
export function runFilter(name: string, value: Value, args: CallArguments, host: Host): Value {
  host.budget.step();
  const run = FILTERS.get(name);
  if (run === undefined) throw new TemplateError(`No filter named '${name}'.`);
  return run(value, args, host, name);
}
