// The functions that every template has.

import { bind } from "./arguments.ts";
import { type Budget, LimitExceeded } from "./budget.ts";
import { str } from "./print.ts";
import {
  Callable,
  type CallArguments,
  type Dict,
  iterate,
  keyOf,
  Members,
  rangeView,
  TemplateError,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** As in jinja2's sandbox. */
const MAX_RANGE = 100_000;

/** The functions that every template has, which pay from `budget`. */
export function globals(budget: Budget, clock: (format: string) => string): Map<string, Value> {
  const functions: Readonly<Record<string, (args: CallArguments) => Value>> = {
    range: ({ positional }) => range(positional, budget),
    dict: ({ positional: [from = null], named }) => {
      const dict: Dict = new Map();
      if (from instanceof Map) for (const [key, value] of from) dict.set(key, value);
      else if (from !== null) {
        for (const pair of iterate(from, budget)) {
          const [key = null, value = null] = iterate(pair, budget);
          dict.set(keyOf(key), value);
        }
      }
      for (const [key, value] of named) dict.set(key, value);
      budget.items(2 * dict.size);
      return dict;
    },
    namespace: ({ positional: [from = null], named }) => {
      const values = new Map<string, Value>(named) as Map<string, Value> & Dict;
      if (from instanceof Map)
        for (const [key, value] of from) if (!named.has(String(key))) values.set(String(key), value);
      return new Members(
        "Namespace",
        (name) => values.get(name) ?? (values.has(name) ? null : undefined),
        (name, value) => values.set(name, value),
        () => values,
      );
    },
    cycler: ({ positional }) => {
      if (positional.length === 0) throw new TemplateError("at least one item has to be provided");
      let at = 0;
      const next = new Callable("next", () => positional[at++ % positional.length]!);
      const reset = new Callable("reset", () => ((at = 0), null));
      return new Members("Cycler", (name) =>
        name === "next"
          ? next
          : name === "reset"
            ? reset
            : name === "current"
              ? positional[at % positional.length]!
              : undefined,
      );
    },
    joiner: ({ positional: [separator = ", "] }) => {
      let used = false;
      return new Callable("Joiner", () => {
        if (used) return separator;
        used = true;
        return "";
      });
    },
    raise_exception: ({ positional: [message = ""] }) => {
      throw new TemplateError(str(message, budget));
    },
    strftime_now: (args) => {
      const { format = "" } = bind("strftime_now", ["format"], args);
      return clock(str(format, budget));
    },
  };
  return new Map(Object.entries(functions).map(([name, call]) => [name, new Callable(name, call)]));
}

function range(args: readonly Value[], budget: Budget): Value {
  const numbers = args.map((arg) => {
    if (arg instanceof Undefined) arg.fail();
    if (typeof arg !== "number" && typeof arg !== "boolean") {
      throw new TemplateError(`'${typeName(arg)}' object cannot be interpreted as an integer`);
    }
    return Number(arg);
  });
  if (numbers.length < 1 || numbers.length > 3)
    throw new TemplateError(`range expected 1 to 3 arguments, got ${numbers.length}`);
  const [start, stop] = numbers.length === 1 ? [0, numbers[0]!] : [numbers[0]!, numbers[1]!];
  const step = numbers[2] ?? 1;
  if (step === 0) throw new TemplateError("range() arg 3 must not be zero");
  const count = Math.max(0, Math.ceil((stop - start) / step));
  if (count > MAX_RANGE) throw new LimitExceeded("totalItems", MAX_RANGE);
  budget.items(count);
  return rangeView(start, stop, step, count);
}
