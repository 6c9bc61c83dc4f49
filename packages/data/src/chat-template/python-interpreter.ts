// The Jinja library renders with JavaScript's semantics where templates were written for Python's. Most differences are
// silent: `lstrip("\n")` that strips spaces too changes the training text of Qwen3. This subclass gives the nodes
// concerned their Python meaning and leaves the rest to the library. Checked against jinja2 on 124 public templates.

import { Interpreter } from "@huggingface/jinja";
import {
  capitalize,
  equal,
  escapeHtml,
  extreme,
  format,
  pythonString,
  type Scope,
  strip,
  type Value,
  valueOf,
} from "./python-values.ts";

// The library's declarations do not resolve under `moduleResolution: nodenext`, hence these.

/** A parsed template. */
export interface Program {
  readonly type: string;
}
/** A node of any type, its fields read by name. */
interface Node extends Program {
  readonly [field: string]: unknown;
}
interface Base {
  evaluate(node: Node | undefined, scope: Scope): Value;
}
const LibraryInterpreter = Interpreter as unknown as new (scope: Scope) => Base;

/** A node whose value is known: lets the library finish what was begun here. */
const lift = (lifted: Value): Node => ({ type: "Lifted", lifted });

const STATEMENTS = new Set([
  "Program",
  "Set",
  "If",
  "For",
  "Break",
  "Continue",
  "Macro",
  "CallStatement",
  "FilterStatement",
  "Comment",
]);
const GENERATORS = new Set(["map", "select", "reject", "selectattr", "rejectattr"]);

/**
 * Runs a parsed template with Python's meaning of strings, equality and printing.
 * @throws whatever the template raises or the library throws
 */
export function interpret(program: Program, scope: Scope): string {
  return new PythonInterpreter(scope, program as Node).evaluate(program as Node, scope).value as string;
}

class PythonInterpreter extends LibraryInterpreter {
  /** expressions whose value is printed */
  readonly #printed = new Set<Node>();
  /** what `for` walks */
  readonly #iterated = new Set<Node>();
  /** strings that `safe` marked: joining escapes the other side, as markupsafe does */
  readonly #markup = new WeakSet<Value>();
  /** dicts whose literal had integer keys; the library knows string keys only */
  readonly #integerKeys = new WeakSet<Value>();

  readonly #Text: new (text: string) => Value;
  readonly #Truth: new (truth: boolean) => Value;

  constructor(scope: Scope, program: Node) {
    super(scope);
    this.#Text = valueOf("").constructor as new (text: string) => Value;
    this.#Truth = valueOf(true).constructor as new (truth: boolean) => Value;
    this.#visit(program);
  }

  #visit(node: Node): void {
    for (const key of ["body", "alternate", "defaultBlock"]) {
      const block = node[key];
      if (!Array.isArray(block)) continue;
      for (const child of block as Node[]) {
        if (STATEMENTS.has(child.type)) this.#visit(child);
        else this.#printed.add(child);
      }
    }
    if (node.type === "For") {
      const iterable = node["iterable"] as Node;
      this.#iterated.add(iterable.type === "SelectExpression" ? (iterable["lhs"] as Node) : iterable);
    }
  }

  override evaluate(node: Node | undefined, scope: Scope): Value {
    if (node === undefined) return super.evaluate(node, scope);
    if (node.type === "Lifted") return node["lifted"] as Value;
    const value = this.#evaluate(node, scope);
    if (this.#printed.has(node) && value.type !== "StringValue") return new this.#Text(pythonString(value));
    if (this.#iterated.has(node)) return this.#iterable(value);
    return value;
  }

  #evaluate(node: Node, scope: Scope): Value {
    switch (node.type) {
      case "BinaryExpression":
        return this.#binary(node, scope);
      case "FilterExpression":
        return this.#filter(node, scope);
      case "CallExpression":
        return this.#call(node, scope);
      case "MemberExpression":
        return this.#member(node, scope);
      case "ObjectLiteral":
        return this.#object(node, scope);
      default:
        return super.evaluate(node, scope);
    }
  }

  /** Strings are walked by character, dicts with integer keys by integer, undefined not at all. */
  #iterable(value: Value): Value {
    if (value.type === "StringValue") return valueOf([...(value.value as string)]);
    if (value.type === "UndefinedValue") return valueOf([]);
    if (this.#integerKeys.has(value)) return valueOf([...(value.value as Map<string, Value>).keys()].map(Number));
    return value;
  }

  #binary(node: Node, scope: Scope): Value {
    const operator = (node["operator"] as { value: string }).value;
    if (operator === "and" || operator === "or") return super.evaluate(node, scope);
    const left = this.evaluate(node["left"] as Node, scope);
    const right = this.evaluate(node["right"] as Node, scope);
    if (operator === "==") return new this.#Truth(equal(left, right));
    if (operator === "!=") return new this.#Truth(!equal(left, right));
    // without autoescape jinja2 joins the plain strings, whether or not one of them is markup
    if (operator === "~") return new this.#Text(pythonString(left) + pythonString(right));
    if ((operator === "in" || operator === "not in") && right.type === "ArrayValue") {
      return new this.#Truth((right.value as Value[]).some((item) => equal(item, left)) === (operator === "in"));
    }
    if (operator === "+" && (left.type === "StringValue" || right.type === "StringValue")) {
      if (left.type === right.type) return this.#join(left, right);
      throw new TypeError(`cannot add ${left.type} and ${right.type}: Python joins strings with strings only`);
    }
    const lifted = { ...node, left: lift(left), right: lift(right) };
    return super.evaluate(lifted, scope);
  }

  /** `+` of strings. */
  #join(left: Value, right: Value): Value {
    const markup = this.#markup.has(left) || this.#markup.has(right);
    const part = (value: Value): string =>
      markup && !this.#markup.has(value) ? escapeHtml(value.value as string) : (value.value as string);
    const joined = new this.#Text(part(left) + part(right));
    if (markup) this.#markup.add(joined);
    return joined;
  }

  #filter(node: Node, scope: Scope): Value {
    const filter = node["filter"] as Node;
    const called = filter.type === "CallExpression";
    const name = (called ? (filter["callee"] as Node) : filter)["value"] as string;
    const operandNode = node["operand"] as Node;
    const operand = this.evaluate(operandNode, scope);
    if (name === "safe") {
      const marked = valueOf(pythonString(operand));
      this.#markup.add(marked);
      return marked;
    }
    if (name === "string" && !this.#markup.has(operand)) return valueOf(pythonString(operand));
    if (name === "trim" && !called) {
      const trimmed = valueOf(strip(pythonString(operand), "strip", undefined));
      if (this.#markup.has(operand)) this.#markup.add(trimmed);
      return trimmed;
    }
    if (name === "length" && operand.type === "UndefinedValue") return valueOf(0);
    if (name === "list" && operand.type === "UndefinedValue") return valueOf([]);
    if (name === "length" && operand.type === "StringValue") return valueOf([...(operand.value as string)].length);
    if (name === "capitalize" && operand.type === "StringValue") return valueOf(capitalize(operand.value as string));
    if ((name === "min" || name === "max") && !called && operand.type === "ArrayValue")
      return extreme(operand.value as Value[], name);
    if (name === "selectattr" && (operand.type === "NullValue" || operand.type === "StringValue")) return valueOf([]);
    if (name === "dictsort" && !called && this.#integerKeys.has(operand)) {
      const entries = [...(operand.value as Map<string, Value>)].sort(([a], [b]) => Number(a) - Number(b));
      const pairs = valueOf(entries.map(([key]) => [Number(key), null]));
      (pairs.value as Value[]).forEach((pair, i) => ((pair.value as Value[])[1] = entries[i]![1]));
      return pairs;
    }
    if (name === "tojson" && operandNode.type === "FilterExpression") {
      const inner = operandNode["filter"] as Node;
      const innerName = (inner.type === "CallExpression" ? (inner["callee"] as Node) : inner)["value"] as string;
      if (GENERATORS.has(innerName)) throw new TypeError("an object of type generator is not JSON serializable");
    }
    const lifted = { ...node, operand: lift(operand) };
    return super.evaluate(lifted, scope);
  }

  #call(node: Node, scope: Scope): Value {
    const callee = node["callee"] as Node;
    if (callee.type !== "MemberExpression" || callee["computed"] === true) return super.evaluate(node, scope);
    const name = (callee["property"] as Node)["value"] as string;
    const object = this.evaluate(callee["object"] as Node, scope);
    if (object.type !== "StringValue") {
      const lifted = { ...node, callee: { ...callee, object: lift(object) } };
      return super.evaluate(lifted, scope);
    }
    const text = object.value as string;
    const args = (node["args"] as Node[]).map((arg) => ({ arg, named: arg.type === "KeywordArgumentExpression" }));
    const positional = (): Value[] => args.filter(({ named }) => !named).map(({ arg }) => this.evaluate(arg, scope));
    switch (name) {
      case "strip":
      case "lstrip":
      case "rstrip": {
        const chars = positional()[0];
        return valueOf(
          strip(text, name, chars === undefined || chars.type === "NullValue" ? undefined : pythonString(chars)),
        );
      }
      case "capitalize":
        return valueOf(capitalize(text));
      case "format": {
        const named = args
          .filter((arg) => arg.named)
          .map(({ arg }): [string, Value] => [
            (arg["key"] as Node)["value"] as string,
            this.evaluate(arg["value"] as Node, scope),
          ]);
        return valueOf(format(text, positional(), new Map(named)));
      }
      default: {
        const lifted = { ...node, callee: { ...callee, object: lift(object) } };
        return super.evaluate(lifted, scope);
      }
    }
  }

  #member(node: Node, scope: Scope): Value {
    const object = this.evaluate(node["object"] as Node, scope);
    if (object.type === "UndefinedValue") throw new Error("an undefined value has no elements");
    if (node["computed"] !== true) return super.evaluate({ ...node, object: lift(object) }, scope);
    const propertyNode = node["property"] as Node;
    if (propertyNode.type === "SliceExpression") {
      const lifted = { ...node, object: lift(object) };
      return super.evaluate(lifted, scope);
    }
    let property = this.evaluate(propertyNode, scope);
    let base = object;
    if (property.type === "IntegerValue") {
      if (this.#integerKeys.has(object)) property = valueOf(String(property.value));
      if (object.type === "StringValue") base = valueOf([...(object.value as string)]);
    }
    const lifted = { ...node, object: lift(base), property: lift(property) };
    return super.evaluate(lifted, scope);
  }

  #object(node: Node, scope: Scope): Value {
    const entries = [...(node["value"] as Map<Node, Node>)];
    if (entries.length === 0 || !entries.every(([key]) => key.type === "IntegerLiteral"))
      return super.evaluate(node, scope);
    const dict = valueOf({});
    for (const [key, item] of entries) {
      (dict.value as Map<string, Value>).set(String(key["value"]), this.evaluate(item, scope));
    }
    this.#integerKeys.add(dict);
    return dict;
  }
}
