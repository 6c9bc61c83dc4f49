// Arguments of a call to parameters by position or name, and what a parameter may be.

import {
  type CallArguments,
  Float,
  numberOf,
  TemplateError,
  textOf,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** The arguments of one call by parameter; a parameter that was not given is undefined. */
export type Bound = Readonly<Record<string, Value | undefined>>;

/** @throws TemplateError where there are too many arguments, or a name that is no parameter */
export function bind(what: string, parameters: readonly string[], args: CallArguments): Bound {
  const bound = Object.create(null) as Record<string, Value>;
  if (args.positional.length > parameters.length) {
    throw new TemplateError(`${what}() takes at most ${parameters.length} arguments (${args.positional.length} given)`);
  }
  args.positional.forEach((value, i) => (bound[parameters[i]!] = value));
  for (const [name, value] of args.named) {
    if (!parameters.includes(name)) throw new TemplateError(`${what}() got an unexpected keyword argument '${name}'`);
    if (name in bound) throw new TemplateError(`${what}() got multiple values for argument '${name}'`);
    bound[name] = value;
  }
  return bound;
}

export function needText(what: string, value: Value | undefined): string {
  const text = value === undefined ? undefined : textOf(value);
  if (text !== undefined) return text;
  if (value instanceof Undefined) value.fail();
  throw new TemplateError(`${what} must be a str, not ${value === undefined ? "missing" : typeName(value)}`);
}

/** An integer; absent and none give the fallback. */
export function needInteger(what: string, value: Value | undefined, fallback?: number): number {
  if ((value === undefined || value === null) && fallback !== undefined) return fallback;
  if (value instanceof Undefined) value.fail();
  const number = value === undefined || value instanceof Float ? undefined : numberOf(value);
  if (number !== undefined) return number;
  throw new TemplateError(`${what} must be an integer, not ${value === undefined ? "missing" : typeName(value)}`);
}
