// What `.` and `[]` find on a value: methods of Python's types, entries of dicts and lists. Members come from these tables
// alone, so no template reaches a property of a JavaScript object.

import type { Budget } from "./budget.ts";
import { DICT, HIDDEN, LIST } from "./methods/containers.ts";
import { bound } from "./methods/method.ts";
import { markupMethod, textMethod } from "./methods/text.ts";
import { str } from "./print.ts";
import { isSequence } from "./slices.ts";
import * as py from "./text.ts";
import { Callable, keyOf, Markup, Members, numberOf, textOf, typeName, Undefined, type Value } from "./values.ts";

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
