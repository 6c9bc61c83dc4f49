// Slices of texts and lists.

import { needInteger } from "./arguments.ts";
import type { Budget } from "./budget.ts";
import { made } from "./methods/method.ts";
import * as py from "./text.ts";
import { Markup, TemplateError, textOf, tuple, Tuple, typeName, Undefined, type Value, View } from "./values.ts";

/** The views of a dict have no order to ask for. */
export function isSequence(list: readonly Value[]): boolean {
  return !(list instanceof View) || !list.label.startsWith("dict");
}

/** Python's bounds of a slice with step 1. */
export function sliceBounds(length: number, start: Value | undefined, stop: Value | undefined): [number, number] {
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
