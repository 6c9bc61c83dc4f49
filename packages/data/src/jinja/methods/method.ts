// What methods of Python's types are made of.

import { type Bound, bind } from "../arguments.ts";
import type { Budget } from "../budget.ts";
import { Callable, type Value } from "../values.ts";

export interface Method<T> {
  readonly parameters: readonly string[];
  readonly run: (object: T, args: Bound, budget: Budget) => Value;
}
export type Methods<T> = ReadonlyMap<string, Method<T>>;

export function methods<T>(table: Record<string, readonly [parameters: string, run: Method<T>["run"]]>): Methods<T> {
  return new Map(
    Object.entries(table).map(([name, [parameters, run]]) => [
      name,
      { parameters: parameters === "" ? [] : parameters.split(" "), run },
    ]),
  );
}

/** Charges for a new text, of at most a few times the length of the one it was made from. */
export function made(text: string, budget: Budget): string {
  budget.text(text.length);
  return text;
}

export function bound<T>(object: T, name: string, method: Method<T>, budget: Budget): Callable {
  return new Callable(name, (args) => method.run(object, bind(name, method.parameters, args), budget));
}
