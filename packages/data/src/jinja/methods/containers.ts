// Methods of Python's dict and list. Those that would change one do not exist: transformers renders in jinja2's
// ImmutableSandboxedEnvironment.

import { type Dict, equal, keyOf, TemplateError, tuple, type Value, view } from "../values.ts";
import { type Methods, methods } from "./method.ts";

export const DICT: Methods<Dict> = methods<Dict>({
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

export const LIST: Methods<readonly Value[]> = methods<readonly Value[]>({
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
export const HIDDEN: ReadonlyMap<string, readonly string[]> = new Map([
  ["dict", ["clear", "pop", "popitem", "setdefault", "update", "fromkeys"]],
  ["list", ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"]],
]);
