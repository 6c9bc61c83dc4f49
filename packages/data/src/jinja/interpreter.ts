// Longer than most files, because a case per kind of node is one idea. Runs a parsed template, with jinja2's scopes: `for`, macros
// and `{% generation %}` have their own, `if` has none.

import type { Arguments, Block, Expression, Parameter, Statement, Target } from "./ast.ts";
import { attribute, item } from "./attributes.ts";
import type { Budget } from "./budget.ts";
import { runFilter } from "./filters.ts";
import type { Host } from "./filters/filter.ts";
import { binary, contains, negative, positive } from "./operators.ts";
import type { Program } from "./parser.ts";
import { str } from "./print.ts";
import { slice } from "./slices.ts";
import { runTest } from "./tests.ts";
import {
  Callable,
  type CallArguments,
  compare,
  type Dict,
  equal,
  Float,
  iterate,
  keyOf,
  Members,
  TemplateError,
  truth,
  tuple,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** Written before and behind what a `{% generation %}` block writes. */
export type Marks = readonly [start: string, end: string];

/**
 * @param variables - what the template may read
 * @throws TemplateError where the template raises or Python would
 * @throws LimitExceeded
 */
export function interpret(
  program: Program,
  variables: ReadonlyMap<string, Value>,
  budget: Budget,
  marks: Marks,
): string {
  return new Interpreter(budget, marks).run(program.body, variables);
}

type Signal = "break" | "continue" | undefined;

/** Variables of one block; what is not here is looked for further out. */
class Scope {
  readonly variables: Map<string, Value>;
  readonly outer: Scope | undefined;
  constructor(outer: Scope | undefined, variables = new Map<string, Value>()) {
    this.outer = outer;
    this.variables = variables;
  }
  get(name: string): Value | undefined {
    const value = this.variables.get(name);
    return value === undefined ? this.outer?.get(name) : value;
  }
}

const ORDER = {
  "<": (n: number): boolean => n < 0,
  "<=": (n: number): boolean => n <= 0,
  ">": (n: number): boolean => n > 0,
  ">=": (n: number): boolean => n >= 0,
} as const;

class Interpreter {
  readonly #budget: Budget;
  readonly #marks: Marks;
  readonly #host: Host;
  /** of macros: which of the special names their bodies mention */
  readonly #mentions = new WeakMap<Block, ReadonlySet<string>>();
  #out: string[] = [];
  #outLength = 0;

  constructor(budget: Budget, marks: Marks) {
    this.#budget = budget;
    this.#marks = marks;
    this.#host = {
      budget,
      test: (name, value, args) => runTest(name, value, args, budget),
      filter: (name, value, args) => runFilter(name, value, args, this.#host),
    };
  }

  run(body: Block, variables: ReadonlyMap<string, Value>): string {
    const scope = new Scope(new Scope(undefined, new Map(variables)));
    this.#block(body, scope);
    return this.#out.join("");
  }

  #write(text: string): void {
    this.#outLength += text.length;
    const { stringLength } = this.#budget.limits;
    if (this.#outLength > stringLength) this.#budget.text(this.#outLength);
    this.#budget.step(text.length / 32);
    this.#out.push(text);
  }

  /** What `work` writes, as a text. */
  #capture(work: () => void): string {
    const [out, length] = [this.#out, this.#outLength];
    this.#out = [];
    this.#outLength = 0;
    work();
    this.#budget.text(this.#outLength);
    const text = this.#out.join("");
    this.#out = out;
    this.#outLength = length;
    return text;
  }

  #inner(outer: Scope): Scope {
    this.#budget.step(4);
    return new Scope(outer);
  }

  #block(body: Block, scope: Scope): Signal {
    this.#budget.enter();
    for (const statement of body) {
      const signal = this.#statement(statement, scope);
      if (signal !== undefined) {
        this.#budget.leave();
        return signal;
      }
    }
    this.#budget.leave();
    return undefined;
  }

  #statement(node: Statement, scope: Scope): Signal {
    this.#budget.step();
    switch (node.kind) {
      case "text":
        this.#write(node.text);
        return undefined;
      case "output":
        this.#write(str(this.#evaluate(node.value, scope), this.#budget));
        return undefined;
      case "if": {
        const branch = node.branches.find(([test]) => truth(this.#evaluate(test, scope)));
        return this.#block(branch === undefined ? node.otherwise : branch[1], scope);
      }
      case "for":
        return this.#for(node, scope);
      case "break":
      case "continue":
        return node.kind;
      case "set":
        this.#assign(node.target, this.#evaluate(node.value, scope), scope);
        return undefined;
      case "set_block": {
        const inner = this.#inner(scope);
        const text = this.#capture(() => this.#block(node.body, inner));
        this.#assign(node.target, node.filter === undefined ? text : this.#filtered(node.filter, text, scope), scope);
        return undefined;
      }
      case "macro":
        scope.variables.set(node.name, this.#macro(node.name, node.parameters, node.body, scope));
        return undefined;
      case "call_block": {
        const { call } = node;
        if (call.kind !== "call") return undefined;
        const caller = this.#macro("caller", node.parameters, node.body, scope);
        const args = this.#arguments(call.args, scope);
        const named = new Map(args.named).set("caller", caller);
        this.#write(str(this.#call(this.#evaluate(call.callee, scope), { ...args, named }), this.#budget));
        return undefined;
      }
      case "filter_block": {
        const inner = this.#inner(scope);
        const text = this.#capture(() => this.#block(node.body, inner));
        this.#write(str(this.#filtered(node.filter, text, scope), this.#budget));
        return undefined;
      }
      case "with": {
        const inner = this.#inner(scope);
        const values = node.bindings.map(([, value]) => this.#evaluate(value, scope));
        node.bindings.forEach(([target], i) => this.#assign(target, values[i]!, inner));
        return this.#block(node.body, inner);
      }
      case "generation": {
        this.#write(this.#marks[0]);
        this.#block(node.body, this.#inner(scope));
        this.#write(this.#marks[1]);
        return undefined;
      }
    }
  }

  /** A chain of filters whose innermost operand is the text of a block. */
  #filtered(filter: Expression, text: string, scope: Scope): Value {
    if (filter.kind !== "filter") return text;
    const operand = filter.operand === undefined ? text : this.#filtered(filter.operand, text, scope);
    return runFilter(filter.name, operand, this.#arguments(filter.args, scope), this.#host);
  }

  #assign(target: Target, value: Value, scope: Scope): void {
    if (target.kind === "name") {
      scope.variables.set(target.name, value);
    } else if (target.kind === "namespace") {
      const object = scope.get(target.name);
      if (!(object instanceof Members) || object.set === undefined) {
        throw new TemplateError("cannot assign attribute on non-namespace object");
      }
      object.set(target.attribute, value);
    } else {
      const items = iterate(value, this.#budget);
      if (value instanceof Undefined) value.fail();
      if (items.length !== target.targets.length) {
        throw new TemplateError(
          items.length < target.targets.length
            ? `not enough values to unpack (expected ${target.targets.length}, got ${items.length})`
            : `too many values to unpack (expected ${target.targets.length})`,
        );
      }
      target.targets.forEach((inner, i) => this.#assign(inner, items[i]!, scope));
    }
  }

  // loops

  #for(node: Statement & { kind: "for" }, scope: Scope, recursion?: { items: Value; depth: number }): Signal {
    const value = recursion === undefined ? this.#evaluate(node.iterable, scope) : recursion.items;
    let items = iterate(value, this.#budget);
    const { test } = node;
    if (test !== undefined) {
      items = items.filter((entry) => {
        const inner = this.#inner(scope);
        this.#assign(node.target, entry, inner);
        return truth(this.#evaluate(test, inner));
      });
      this.#budget.items(items.length);
    }
    if (items.length === 0) return this.#block(node.otherwise, this.#inner(scope));
    const state = { index: 0 };
    const loop = this.#loop(items, state, recursion?.depth ?? 0, (list, depth) =>
      this.#capture(() => {
        if (!node.recursive)
          throw new TemplateError("The loop must have the 'recursive' marker to be called recursively.");
        this.#for(node, scope, { items: list, depth });
      }),
    );
    for (; state.index < items.length; state.index++) {
      const inner = this.#inner(scope);
      inner.variables.set("loop", loop);
      this.#assign(node.target, items[state.index]!, inner);
      if (this.#block(node.body, inner) === "break") break;
    }
    return undefined;
  }

  #loop(
    items: readonly Value[],
    state: { readonly index: number },
    depth: number,
    again: (items: Value, depth: number) => string,
  ): Callable {
    let changed: Value | undefined;
    const cycle = new Callable("cycle", ({ positional }) => {
      if (positional.length === 0) throw new TemplateError("no items for cycling given");
      return positional[state.index % positional.length]!;
    });
    const hasChanged = new Callable("changed", ({ positional }) => {
      const now = tuple(positional);
      const same = changed !== undefined && equal(changed, now, this.#budget);
      changed = now;
      return !same;
    });
    const beyond = (what: string): Undefined => new Undefined(`there is no ${what} item`);
    const members: Readonly<Record<string, () => Value>> = {
      index: () => state.index + 1,
      index0: () => state.index,
      revindex: () => items.length - state.index,
      revindex0: () => items.length - state.index - 1,
      first: () => state.index === 0,
      last: () => state.index === items.length - 1,
      length: () => items.length,
      depth: () => depth + 1,
      depth0: () => depth,
      previtem: () => (state.index === 0 ? beyond("previous") : items[state.index - 1]!),
      nextitem: () => (state.index + 1 === items.length ? beyond("next") : items[state.index + 1]!),
      cycle: () => cycle,
      changed: () => hasChanged,
    };
    const get = (name: string): Value | undefined => (Object.hasOwn(members, name) ? members[name]!() : undefined);
    return new Callable(
      "loop",
      ({ positional }) => again(positional[0] ?? null, depth + 1),
      new Members("LoopContext", get),
    );
  }

  // macros

  #macro(name: string, parameters: readonly Parameter[], body: Block, scope: Scope): Callable {
    let mentions = this.#mentions.get(body);
    if (mentions === undefined) {
      mentions = new Set(["varargs", "kwargs", "caller"].filter((special) => mentionsName(body, special)));
      this.#mentions.set(body, mentions);
    }
    const uses = mentions;
    const call = ({ positional, named }: CallArguments): Value => {
      const inner = this.#inner(scope);
      const rest = new Map(named);
      const take = (key: string): Value | undefined => {
        const value = rest.get(key);
        rest.delete(key);
        return value;
      };
      const given = parameters.map((parameter, i) => (i < positional.length ? positional[i]! : take(parameter.name)));
      if (uses.has("caller")) inner.variables.set("caller", take("caller") ?? new Undefined("No caller defined"));
      if (uses.has("kwargs")) inner.variables.set("kwargs", new Map(rest) as Dict);
      else if (rest.size > 0)
        throw new TemplateError(`macro '${name}' takes no keyword argument '${[...rest.keys()][0]}'`);
      if (uses.has("varargs")) inner.variables.set("varargs", tuple(positional.slice(parameters.length)));
      else if (positional.length > parameters.length) {
        throw new TemplateError(`macro '${name}' takes not more than ${parameters.length} argument(s)`);
      }
      parameters.forEach((parameter, i) => {
        const value = given[i] ?? (given[i] === null ? null : undefined);
        const missing = (): Value =>
          parameter.fallback === undefined
            ? new Undefined(`parameter '${parameter.name}' was not provided`)
            : this.#evaluate(parameter.fallback, inner);
        inner.variables.set(parameter.name, value === undefined ? missing() : value);
      });
      return this.#capture(() => this.#block(body, inner));
    };
    return new Callable(name, call, new Members("Macro", (member) => (member === "name" ? name : undefined)));
  }

  #arguments(args: Arguments, scope: Scope): CallArguments {
    const positional = args.positional.map((node) => this.#evaluate(node, scope));
    const named = new Map(args.named.map(([name, node]) => [name, this.#evaluate(node, scope)]));
    if (args.rest !== undefined) positional.push(...iterate(this.#evaluate(args.rest, scope), this.#budget));
    if (args.namedRest !== undefined) {
      const dict = this.#evaluate(args.namedRest, scope);
      if (!(dict instanceof Map)) throw new TemplateError(`argument after ** must be a mapping, not ${typeName(dict)}`);
      for (const [key, value] of dict) named.set(String(key), value);
    }
    return { positional, named };
  }

  #call(callee: Value, args: CallArguments): Value {
    if (callee instanceof Undefined) callee.fail();
    if (!(callee instanceof Callable)) throw new TemplateError(`'${typeName(callee)}' object is not callable`);
    this.#budget.enter();
    const result = callee.call(args);
    this.#budget.leave();
    return result;
  }

  // expressions

  #evaluate(node: Expression, scope: Scope): Value {
    const budget = this.#budget;
    budget.step();
    if (node.kind === "constant") return node.value;
    if (node.kind === "name") return scope.get(node.name) ?? this.#unknown(node.name, scope);
    budget.enter();
    const value = this.#inside(node, scope);
    budget.leave();
    return value;
  }

  #unknown(name: string, scope: Scope): Value {
    for (let at: Scope | undefined = scope; at !== undefined; at = at.outer) if (at.variables.has(name)) return null;
    return new Undefined(`'${name}' is undefined`);
  }

  #inside(node: Exclude<Expression, { kind: "constant" | "name" }>, scope: Scope): Value {
    const budget = this.#budget;
    switch (node.kind) {
      case "float":
        return new Float(node.value);
      case "list":
      case "tuple": {
        budget.items(node.items.length);
        const items = node.items.map((entry) => this.#evaluate(entry, scope));
        return node.kind === "tuple" ? tuple(items) : items;
      }
      case "dict": {
        budget.items(2 * node.entries.length);
        const dict: Dict = new Map();
        for (const [key, value] of node.entries)
          dict.set(keyOf(this.#evaluate(key, scope)), this.#evaluate(value, scope));
        return dict;
      }
      case "not":
        return !truth(this.#evaluate(node.operand, scope));
      case "negative":
        return negative(this.#evaluate(node.operand, scope));
      case "positive":
        return positive(this.#evaluate(node.operand, scope));
      case "and": {
        const left = this.#evaluate(node.left, scope);
        return truth(left) ? this.#evaluate(node.right, scope) : left;
      }
      case "or": {
        const left = this.#evaluate(node.left, scope);
        return truth(left) ? left : this.#evaluate(node.right, scope);
      }
      case "binary":
        return binary(node.operator, this.#evaluate(node.left, scope), this.#evaluate(node.right, scope), budget);
      case "concat": {
        // without autoescape jinja2 joins the plain strings, whether or not one of them is markup
        const parts = node.parts.map((part) => str(this.#evaluate(part, scope), budget));
        budget.text(parts.reduce((sum, part) => sum + part.length, 0));
        return parts.join("");
      }
      case "compare": {
        let left = this.#evaluate(node.first, scope);
        for (const [operator, expression] of node.rest) {
          const right = this.#evaluate(expression, scope);
          if (!this.#holds(operator, left, right)) return false;
          left = right;
        }
        return true;
      }
      case "condition":
        if (truth(this.#evaluate(node.test, scope))) return this.#evaluate(node.yes, scope);
        return node.no === undefined
          ? new Undefined("the inline if-expression evaluated to false and no else section was defined.")
          : this.#evaluate(node.no, scope);
      case "attribute":
        return attribute(this.#evaluate(node.object, scope), node.name, budget);
      case "item":
        return item(this.#evaluate(node.object, scope), this.#evaluate(node.key, scope), budget);
      case "slice": {
        const part = (expression: Expression | undefined): Value | undefined =>
          expression === undefined ? undefined : this.#evaluate(expression, scope);
        const object = this.#evaluate(node.object, scope);
        return slice(object, { start: part(node.start), stop: part(node.stop), step: part(node.step) }, budget);
      }
      case "call":
        return this.#call(this.#evaluate(node.callee, scope), this.#arguments(node.args, scope));
      case "filter": {
        const operand = node.operand === undefined ? null : this.#evaluate(node.operand, scope);
        return runFilter(node.name, operand, this.#arguments(node.args, scope), this.#host);
      }
      case "test": {
        const { positional } = this.#arguments(node.args, scope);
        return runTest(node.name, this.#evaluate(node.operand, scope), positional, budget);
      }
    }
  }

  #holds(operator: (Expression & { kind: "compare" })["rest"][number][0], left: Value, right: Value): boolean {
    const budget = this.#budget;
    switch (operator) {
      case "==":
        return equal(left, right, budget);
      case "!=":
        return !equal(left, right, budget);
      case "in":
        return contains(right, left, budget);
      case "not in":
        return !contains(right, left, budget);
      default:
        return ORDER[operator](compare(left, right, budget, operator));
    }
  }
}

/** Does a tree read a name? */
function mentionsName(tree: unknown, name: string): boolean {
  if (Array.isArray(tree)) return tree.some((part) => mentionsName(part, name));
  if (typeof tree !== "object" || tree === null) return false;
  const node = tree as { kind?: string; name?: string };
  if (node.kind === "name" && node.name === name) return true;
  return Object.values(node).some((part) => mentionsName(part, name));
}
