// The values of a running template. Strings, integers, booleans, none and lists are JavaScript's own; what Python tells
// apart and JavaScript does not has a class. Nothing here has a prototype chain that a template could climb: members are
// looked up in tables (attributes.ts), never on objects.

import type { Budget } from "./budget.ts";

/** The template raised, or Python would have. */
export class TemplateError extends Error {}

/** A number that prints with a point. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** A string that `safe` or `escape` marked: joining it with another escapes that one, as markupsafe does. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** The value of a name that is not there: empty, false, and an error as soon as anything is asked of it. */
export class Undefined {
  /** "'x' is undefined" */
  readonly because: string;
  constructor(because: string) {
    this.because = because;
  }
  fail(): never {
    throw new TemplateError(this.because);
  }
}

/** `(1, 2)` */
export class Tuple extends Array<Value> {
  /** what is cut or filtered out of one is a list */
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }
}

/** What Python prints by another name than a list: `dict_items([…])`, `range(0, 3)`. */
export class View extends Array<Value> {
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }
  /** what it prints as; `…` stands for the entries */
  label = "";
}

/** Can be walked once, has no length. */
export class Generator {
  #items: readonly Value[];
  constructor(items: readonly Value[]) {
    this.#items = items;
  }
  take(): readonly Value[] {
    const items = this.#items;
    this.#items = [];
    return items;
  }
}

export type Dict = Map<Key, Value>;
export type Key = string | number | boolean | null;

/** Named members, read and, in a namespace, written. */
export class Members {
  readonly label: string;
  readonly get: (name: string) => Value | undefined;
  readonly set: ((name: string, value: Value) => void) | undefined;
  /** what is printed behind the label */
  readonly shown: (() => Dict) | undefined;
  constructor(
    label: string,
    get: (name: string) => Value | undefined,
    set?: (name: string, value: Value) => void,
    shown?: () => Dict,
  ) {
    this.label = label;
    this.get = get;
    this.set = set;
    this.shown = shown;
  }
}

export interface CallArguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

export class Callable {
  readonly name: string;
  readonly call: (args: CallArguments) => Value;
  /** members of a callable: those of a macro, of `loop` */
  readonly members: Members | undefined;
  constructor(name: string, call: (args: CallArguments) => Value, members?: Members) {
    this.name = name;
    this.call = call;
    this.members = members;
  }
}

export type Value =
  | null
  | boolean
  | number
  | string
  | Float
  | Markup
  | Undefined
  | Value[]
  | Dict
  | Generator
  | Members
  | Callable;

export function tuple(items: Iterable<Value>): Tuple {
  const out = new Tuple();
  for (const item of items) out.push(item);
  return out;
}

export function view(label: string, items: Iterable<Value>): View {
  const out = new View();
  for (const item of items) out.push(item);
  out.label = label;
  return out;
}

export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number") return "int";
  if (typeof value === "string") return "str";
  if (value instanceof Float) return "float";
  if (value instanceof Markup) return "Markup";
  if (value instanceof Undefined) return "Undefined";
  if (value instanceof Tuple) return "tuple";
  if (Array.isArray(value)) return value instanceof View ? value.label.replace(/\(.*/s, "") : "list";
  if (value instanceof Map) return "dict";
  if (value instanceof Generator) return "generator";
  return value instanceof Members ? value.label : "function";
}

/** The text of a string or markup; undefined for anything else. */
export function textOf(value: Value): string | undefined {
  return typeof value === "string" ? value : value instanceof Markup ? value.text : undefined;
}

/** Integers, floats and booleans as a number. */
export function numberOf(value: Value): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  return value instanceof Float ? value.value : undefined;
}

export function truth(value: Value): boolean {
  if (value === null || value === false || value === "" || value === 0) return false;
  if (typeof value !== "object") return true;
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Map) return value.size > 0;
  if (value instanceof Float) return value.value !== 0;
  if (value instanceof Markup) return value.text !== "";
  return !(value instanceof Undefined);
}

export function keyOf(value: Value): Key {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (value instanceof Markup) return value.text;
  const number = numberOf(value);
  if (number !== undefined) return number;
  throw new TemplateError(`unhashable type: '${typeName(value)}'`);
}

/** The entries of anything that can be walked; text by code point, dicts by key. */
export function iterate(value: Value, budget: Budget): readonly Value[] {
  if (Array.isArray(value)) return value;
  const text = textOf(value);
  if (text !== undefined) {
    budget.items(text.length);
    return [...text]; // of markup, too
  }
  if (value instanceof Map) {
    budget.items(value.size);
    return [...value.keys()];
  }
  if (value instanceof Undefined) return [];
  if (value instanceof Generator) return value.take();
  throw new TemplateError(`'${typeName(value)}' object is not iterable`);
}

/** Python's `==`: no coercion but among numbers and booleans, by content for lists and dicts. */
export function equal(a: Value, b: Value, budget: Budget): boolean {
  budget.step();
  if (a === b) return true;
  const number = numberOf(a);
  if (number !== undefined) return number === numberOf(b);
  const text = textOf(a);
  if (text !== undefined) {
    const other = textOf(b);
    budget.scan(text.length);
    return text === other;
  }
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length || a instanceof Tuple !== b instanceof Tuple) return false;
    budget.enter();
    const same = a.every((item, i) => equal(item, b[i]!, budget));
    budget.leave();
    return same;
  }
  if (a instanceof Map) {
    if (!(b instanceof Map) || a.size !== b.size) return false;
    budget.enter();
    let same = true;
    for (const [key, item] of a) same &&= b.has(key) && equal(item, b.get(key)!, budget);
    budget.leave();
    return same;
  }
  return a instanceof Undefined && b instanceof Undefined;
}

/** Negative, zero or positive, as Python orders them. */
export function compare(a: Value, b: Value, budget: Budget, sign = "<"): number {
  budget.step();
  const left = numberOf(a);
  const right = numberOf(b);
  if (left !== undefined && right !== undefined) return left - right;
  const text = textOf(a);
  const other = textOf(b);
  if (text !== undefined && other !== undefined) {
    budget.scan(Math.min(text.length, other.length));
    return compareText(text, other);
  }
  if (Array.isArray(a) && Array.isArray(b) && a instanceof Tuple === b instanceof Tuple) {
    budget.enter();
    const at = a.findIndex((item, i) => i >= b.length || !equal(item, b[i]!, budget));
    const order = at === -1 ? a.length - b.length : at >= b.length ? 1 : compare(a[at]!, b[at]!, budget, sign);
    budget.leave();
    return order;
  }
  if (a instanceof Undefined) a.fail();
  if (b instanceof Undefined) b.fail();
  throw new TemplateError(`'${sign}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

/** By code points, not by UTF-16 units: U+10000 comes behind U+FFFF. */
function compareText(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  let at = 0;
  while (at < length && a[at] === b[at]) at++;
  if (at === length) return a.length - b.length;
  const [x, y] = [a.charCodeAt(at), b.charCodeAt(at)];
  const lift = (unit: number): number => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit);
  return lift(x) - lift(y);
}

/** `range(start, stop, step)` */
export function rangeView(start: number, stop: number, step: number, count: number): View {
  const out = new View();
  for (let i = 0; i < count; i++) out.push(start + i * step);
  out.label = step === 1 ? `range(${start}, ${stop})` : `range(${start}, ${stop}, ${step})`;
  return out;
}
