// Filters of sequences and dicts (jinja2/filters.py).

import { bind, needInteger, needText } from "../arguments.ts";
import { joined } from "../methods/text.ts";
import { binary, sizeOf } from "../operators.ts";
import { str } from "../print.ts";
import * as py from "../text.ts";
import {
  compare,
  equal,
  Generator,
  iterate,
  TemplateError,
  textOf,
  truth,
  tuple,
  typeName,
  Undefined,
  type Value,
} from "../values.ts";
import { type Filter, filter, folded, getter, sorted } from "./filter.ts";

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
  return new Generator(entries.map((entry) => host.filter(name, entry, args)));
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

const length: Filter = filter("", (value, _, { budget }) => sizeOf(value, budget));

/** By name. */
export const SEQUENCES: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ["batch", batch],
  ["count", length],
  ["dictsort", dictsort],
  [
    "first",
    filter("", (value, _, { budget }) => {
      const items = iterate(value, budget);
      return items.length === 0 ? new Undefined("No first item, sequence was empty.") : items[0]!;
    }),
  ],
  ["groupby", groupby],
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
  ["map", map],
  ["max", extreme(1)],
  ["min", extreme(-1)],
  ["reject", selection(false, false)],
  ["rejectattr", selection(false, true)],
  ["reverse", reverse],
  ["select", selection(true, false)],
  ["selectattr", selection(true, true)],
  ["slice", slices],
  ["sort", sort],
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
  ["unique", unique],
]);
