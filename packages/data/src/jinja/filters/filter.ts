// What filters are made of.

import { type Bound, bind, needText } from "../arguments.ts";
import { item } from "../attributes.ts";
import type { Budget } from "../budget.ts";
import { str } from "../print.ts";
import { type CallArguments, compare, Markup, textOf, Undefined, type Value } from "../values.ts";

/** What a filter may ask of the interpreter. */
export interface Host {
  readonly budget: Budget;
  test(name: string, value: Value, args: readonly Value[]): boolean;
  filter(name: string, value: Value, args: CallArguments): Value;
}

export type Filter = (value: Value, args: CallArguments, host: Host, name: string) => Value;

export function filter(parameters: string, run: (value: Value, args: Bound, host: Host) => Value): Filter {
  const names = parameters === "" ? [] : parameters.split(" ");
  return (value, args, host, name) => run(value, bind(name, names, args), host);
}

/** A filter of text: what is not text is printed first, markup stays markup. */
export function textFilter(parameters: string, run: (text: string, args: Bound, budget: Budget) => string): Filter {
  return filter(parameters, (value, args, { budget }) => {
    const out = run(str(value, budget), args, budget);
    budget.text(out.length);
    return value instanceof Markup ? new Markup(out) : out;
  });
}

/** The `attribute` of jinja2: a path with points, whose numbers are indices. */
export function getter(path: Value | undefined, budget: Budget, fallback?: Value): (value: Value) => Value {
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

export function folded(value: Value, caseSensitive: boolean): Value {
  const text = textOf(value);
  return caseSensitive || text === undefined ? value : text.toLowerCase();
}

export function sorted(
  items: readonly Value[],
  key: (value: Value) => Value,
  reverse: boolean,
  budget: Budget,
): Value[] {
  budget.items(3 * items.length);
  const keyed = items.map((value) => ({ value, key: key(value) }));
  // stable in both directions, as Python's is
  const sign = reverse ? -1 : 1;
  keyed.sort((a, b) => sign * compare(a.key, b.key, budget));
  return keyed.map(({ value }) => value);
}
