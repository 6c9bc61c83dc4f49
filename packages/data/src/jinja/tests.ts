// jinja2's tests: `x is defined`.

import type { Budget } from "./budget.ts";
import { FILTER_NAMES } from "./filters.ts";
import { contains } from "./operators.ts";
import { lengthOf, isLower, isUpper } from "./text.ts";
import {
  Callable,
  compare,
  equal,
  Float,
  Generator,
  Markup,
  numberOf,
  TemplateError,
  textOf,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

type Test = (value: Value, args: readonly Value[], budget: Budget) => boolean;

function integer(value: Value): number {
  const number = numberOf(value);
  if (number === undefined) throw new TemplateError(`a number is required, not ${typeName(value)}`);
  return number;
}

const mod = (a: number, b: number): number => ((a % b) + b) % b;
const eq: Test = (value, [other = null], budget) => equal(value, other, budget);
const order =
  (sign: string, holds: (order: number) => boolean): Test =>
  (value, [other = null], budget) =>
    holds(compare(value, other, budget, sign));
const lt = order("<", (n) => n < 0);
const le = order("<=", (n) => n <= 0);
const gt = order(">", (n) => n > 0);
const ge = order(">=", (n) => n >= 0);
const ne: Test = (value, args, budget) => !eq(value, args, budget);

const TESTS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ["boolean", (value) => typeof value === "boolean"],
  ["callable", (value) => value instanceof Callable],
  ["defined", (value) => !(value instanceof Undefined)],
  ["divisibleby", (value, [by = 1]) => mod(integer(value), integer(by)) === 0],
  ["eq", eq],
  ["==", eq],
  ["equalto", eq],
  ["escaped", (value) => value instanceof Markup],
  ["even", (value) => mod(integer(value), 2) === 0],
  ["false", (value) => value === false],
  ["filter", (value) => FILTER_NAMES.has(textOf(value) ?? "")],
  ["float", (value) => value instanceof Float],
  ["ge", ge],
  [">=", ge],
  ["gt", gt],
  [">", gt],
  ["greaterthan", gt],
  ["in", (value, [list = null], budget) => contains(list, value, budget)],
  ["integer", (value) => typeof value === "number"],
  [
    "iterable",
    (value) =>
      textOf(value) !== undefined ||
      Array.isArray(value) ||
      value instanceof Map ||
      value instanceof Undefined ||
      value instanceof Generator,
  ],
  ["le", le],
  ["<=", le],
  ["lessthan", lt],
  ["lower", (value, _, budget) => (budget.scan(lengthOf(textOf(value) ?? "", budget)), isLower(textOf(value) ?? ""))],
  ["lt", lt],
  ["<", lt],
  ["mapping", (value) => value instanceof Map],
  ["ne", ne],
  ["!=", ne],
  ["none", (value) => value === null],
  ["number", (value) => numberOf(value) !== undefined],
  ["odd", (value) => mod(integer(value), 2) === 1],
  ["sameas", (value, [other = null]) => value === other],
  [
    "sequence",
    (value) =>
      textOf(value) !== undefined || Array.isArray(value) || value instanceof Map || value instanceof Undefined,
  ],
  ["string", (value) => textOf(value) !== undefined],
  ["test", (value) => TESTS.has(textOf(value) ?? "")],
  ["true", (value) => value === true],
  ["undefined", (value) => value instanceof Undefined],
  ["upper", (value, _, budget) => (budget.scan(lengthOf(textOf(value) ?? "", budget)), isUpper(textOf(value) ?? ""))],
]);

/** @throws TemplateError where the test does not exist or refuses the value */
export function runTest(name: string, value: Value, args: readonly Value[], budget: Budget): boolean {
  const test = TESTS.get(name);
  if (test === undefined) throw new TemplateError(`No test named '${name}' found.`);
  return test(value, args, budget);
}
