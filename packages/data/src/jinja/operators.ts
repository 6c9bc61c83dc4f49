// Python's operators.

import type { BinaryOperator } from "./ast.ts";
import type { Budget } from "./budget.ts";
import { percentFormat } from "./format.ts";
import { escapeHtml } from "./print.ts";
import { lengthOf } from "./text.ts";
import {
  equal,
  Float,
  Generator,
  iterate,
  keyOf,
  Markup,
  numberOf,
  TemplateError,
  textOf,
  tuple,
  Tuple,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.ts";

/** `item in container` */
export function contains(container: Value, item: Value, budget: Budget): boolean {
  const text = textOf(container);
  if (text !== undefined) {
    const part = textOf(item);
    if (part === undefined) {
      if (item instanceof Undefined)
        throw new TemplateError("'in <string>' requires string as left operand, not Undefined");
      throw new TemplateError(`'in <string>' requires string as left operand, not ${typeName(item)}`);
    }
    budget.scan(text.length, part.length);
    return text.includes(part);
  }
  if (container instanceof Map) return item instanceof Undefined ? false : container.has(keyOf(item));
  return iterate(container, budget).some((entry) => equal(entry, item, budget));
}

function integer(value: number): number {
  if (!Number.isSafeInteger(value)) throw new TemplateError("an integer grows beyond 2^53");
  return value;
}

/** @throws TemplateError as Python would for operands that do not go together */
export function binary(operator: BinaryOperator, left: Value, right: Value, budget: Budget): Value {
  if (left instanceof Undefined) left.fail();
  if (right instanceof Undefined && !(operator === "%" && textOf(left) !== undefined)) right.fail();
  const a = numberOf(left);
  const b = numberOf(right);
  if (a !== undefined && b !== undefined)
    return arithmetic(operator, a, b, left instanceof Float || right instanceof Float);
  const other =
    operator === "+" ? add(left, right, budget) : operator === "*" ? repeat(left, right, budget) : undefined;
  if (other !== undefined) return other;
  if (operator === "%" && typeof left === "string") return percentFormat(left, right, budget);
  if (operator === "%" && left instanceof Markup) return new Markup(percentFormat(left.text, right, budget));
  throw new TemplateError(`unsupported operand type(s) for ${operator}: '${typeName(left)}' and '${typeName(right)}'`);
}

function arithmetic(operator: BinaryOperator, a: number, b: number, float: boolean): Value {
  if ((operator === "/" || operator === "//" || operator === "%") && b === 0)
    throw new TemplateError("division by zero");
  const number = (value: number): Value => (float ? new Float(value) : integer(value));
  switch (operator) {
    case "+":
      return number(a + b);
    case "-":
      return number(a - b);
    case "*":
      return number(a * b);
    case "/":
      return new Float(a / b);
    case "//":
      return number(Math.floor(a / b));
    case "%":
      return number(a - b * Math.floor(a / b));
    case "**":
      return !float && b < 0 ? new Float(a ** b) : number(a ** b);
  }
}

function add(left: Value, right: Value, budget: Budget): Value | undefined {
  const a = textOf(left);
  const b = textOf(right);
  if (a !== undefined && b !== undefined) {
    budget.text(a.length + b.length);
    if (typeof left === "string" && typeof right === "string") return a + b;
    const escaped = (value: Value, text: string): string => (value instanceof Markup ? text : escapeHtml(text, budget));
    return new Markup(escaped(left, a) + escaped(right, b));
  }
  if (!Array.isArray(left) || !Array.isArray(right) || left instanceof View || right instanceof View) return undefined;
  if (left instanceof Tuple !== right instanceof Tuple) return undefined;
  budget.items(left.length + right.length);
  return left instanceof Tuple ? tuple([...left, ...right]) : [...left, ...right];
}

function repeat(left: Value, right: Value, budget: Budget): Value | undefined {
  const isCount = (value: Value): value is number | boolean => typeof value === "number" || typeof value === "boolean";
  const [sequence, times] = isCount(right) ? [left, right] : isCount(left) ? [right, left] : [];
  if (sequence === undefined || times === undefined) return undefined;
  const count = Math.max(0, Number(times));
  const text = textOf(sequence);
  if (text !== undefined) {
    budget.text(text.length * count);
    return sequence instanceof Markup ? new Markup(text.repeat(count)) : text.repeat(count);
  }
  if (!Array.isArray(sequence) || sequence instanceof View) return undefined;
  budget.items(sequence.length * count);
  const items: Value[] = [];
  for (let i = 0; i < count && sequence.length > 0; i++) items.push(...sequence);
  return sequence instanceof Tuple ? tuple(items) : items;
}

export function negative(value: Value): Value {
  if (value instanceof Undefined) value.fail();
  if (value instanceof Float) return new Float(-value.value);
  const number = numberOf(value);
  if (number === undefined) throw new TemplateError(`bad operand type for unary -: '${typeName(value)}'`);
  return number === 0 ? 0 : -number;
}

export function positive(value: Value): Value {
  if (value instanceof Undefined) value.fail();
  if (value instanceof Float) return value;
  const number = numberOf(value);
  if (number === undefined) throw new TemplateError(`bad operand type for unary +: '${typeName(value)}'`);
  return number;
}

/** `value|length` */
export function sizeOf(value: Value, budget: Budget): number {
  if (Array.isArray(value)) return value.length;
  if (value instanceof Map) return value.size;
  if (value instanceof Undefined) return 0;
  if (textOf(value) !== undefined) return lengthOf(textOf(value)!, budget);
  throw new TemplateError(
    value instanceof Generator
      ? "object of type 'generator' has no len()"
      : `object of type '${typeName(value)}' has no len()`,
  );
}
