// Longer than most files, because a grammar is one idea. Tokens to a tree, by jinja2's grammar (jinja2/parser.py): the same
// functions in the same order of precedence.

import type {
  Arguments,
  BinaryOperator,
  Block,
  CompareOperator,
  Expression,
  Parameter,
  Statement,
  Target,
} from "./ast.ts";
import { LimitExceeded, type Limits } from "./budget.ts";
import { type Token, tokenize, TemplateSyntaxError } from "./lexer.ts";

/** A parsed template. */
export interface Program {
  readonly body: Block;
  readonly hasGeneration: boolean;
}

const NO_ARGUMENTS: Arguments = { positional: [], named: [], rest: undefined, namedRest: undefined };
const COMPARE = ["==", "!=", "<", "<=", ">", ">="];
/** `x is test value` without parentheses: what a value may begin with */
const VALUE_TYPES = ["name", "string", "integer", "float"];
const LATER = ["extends", "include", "import", "from", "block", "trans", "autoescape", "do", "debug"];

/**
 * @throws TemplateSyntaxError with the line
 * @throws LimitExceeded for a source that is too long or nested too deeply
 */
export function parse(source: string, limits: Limits): Program {
  if (source.length > limits.sourceLength) throw new LimitExceeded("sourceLength", limits.sourceLength);
  return new Parser(tokenize(source), limits).program();
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #limits: Limits;
  #at = 0;
  #depth = 0;
  #loops = 0;
  #hasGeneration = false;

  constructor(tokens: readonly Token[], limits: Limits) {
    this.#tokens = tokens;
    this.#limits = limits;
  }

  program(): Program {
    const body = this.#block([]);
    return { body, hasGeneration: this.#hasGeneration };
  }

  get #token(): Token {
    return this.#tokens[this.#at]!;
  }

  #fail(message: string, line = this.#token.line): never {
    throw new TemplateSyntaxError(message, line);
  }

  #shown(): string {
    const { type, value } = this.#token;
    return type === "end"
      ? "the end of the template"
      : type.endsWith("_end")
        ? "the end of the tag"
        : JSON.stringify(value);
  }

  /** Takes the token if it is that operator. */
  #operator(...operators: readonly string[]): string | undefined {
    const { type, value } = this.#token;
    if (type !== "operator" || !operators.includes(value)) return undefined;
    this.#at++;
    return value;
  }

  #isOperator(value: string): boolean {
    return this.#token.type === "operator" && this.#token.value === value;
  }

  #expectOperator(operator: string): void {
    if (this.#operator(operator) === undefined) this.#fail(`expected "${operator}" and found ${this.#shown()}`);
  }

  #isWord(...words: readonly string[]): boolean {
    return this.#token.type === "name" && words.includes(this.#token.value);
  }

  #word(word: string): boolean {
    if (!this.#isWord(word)) return false;
    this.#at++;
    return true;
  }

  #name(): string {
    const { type, value } = this.#token;
    if (type !== "name") this.#fail(`expected a name and found ${this.#shown()}`);
    this.#at++;
    return value;
  }

  #blockEnd(): void {
    if (this.#token.type !== "block_end") this.#fail(`expected the end of the tag and found ${this.#shown()}`);
    this.#at++;
  }

  #deeper<T>(work: () => T): T {
    if (++this.#depth > this.#limits.sourceDepth) throw new LimitExceeded("sourceDepth", this.#limits.sourceDepth);
    const result = work();
    this.#depth--;
    return result;
  }

  // statements

  /** Statements up to one of the `ends`, whose name is the current token then; without `ends`, to the end. */
  #block(ends: readonly string[]): Block {
    const body: Statement[] = [];
    for (;;) {
      const { type, value, line } = this.#token;
      this.#at++;
      if (type === "text") body.push({ kind: "text", text: value });
      else if (type === "variable_begin") {
        body.push({ kind: "output", value: this.#tuple() });
        if (this.#token.type !== "variable_end") this.#fail(`expected the end of the tag and found ${this.#shown()}`);
        this.#at++;
      } else if (type === "block_begin") {
        if (this.#isWord(...ends)) return body;
        body.push(this.#deeper(() => this.#statement(line)));
      } else if (ends.length > 0) {
        this.#fail(`the template ends before ${ends.map((end) => `{% ${end} %}`).join(" or ")}`, line);
      } else return body;
    }
  }

  /** A block and its end tag. */
  #body(end: string): Block {
    this.#blockEnd();
    const body = this.#block([end]);
    this.#at++;
    return body;
  }

  #statement(line: number): Statement {
    const word = this.#name();
    const statement = this.#tag(word, line);
    this.#blockEnd();
    return statement;
  }

  /** A statement up to, not including, the end of its last tag. */
  #tag(word: string, line: number): Statement {
    switch (word) {
      case "if":
        return this.#if();
      case "for":
        return this.#for();
      case "break":
      case "continue":
        if (this.#loops === 0) this.#fail(`{% ${word} %} outside a loop`, line);
        return { kind: word };
      case "set":
        return this.#set();
      case "macro":
        return {
          kind: "macro",
          name: this.#name(),
          parameters: this.#parameters(),
          body: this.#outsideLoops("endmacro"),
        };
      case "call": {
        const parameters = this.#isOperator("(") ? this.#parameters() : [];
        const call = this.#expression();
        if (call.kind !== "call") this.#fail("{% call %} needs a call", line);
        return { kind: "call_block", call, parameters, body: this.#outsideLoops("endcall") };
      }
      case "filter":
        return { kind: "filter_block", filter: this.#filters(undefined, true)!, body: this.#body("endfilter") };
      case "with":
        return this.#with();
      case "generation":
        this.#hasGeneration = true;
        return { kind: "generation", body: this.#outsideLoops("endgeneration") };
      default:
        return this.#fail(
          LATER.includes(word)
            ? `{% ${word} %} has no meaning in a chat template`
            : `unknown tag ${JSON.stringify(word)}`,
          line,
        );
    }
  }

  /** A body that is a function of its own: `break` does not reach out of it. */
  #outsideLoops(end: string): Block {
    const loops = this.#loops;
    this.#loops = 0;
    const body = this.#body(end);
    this.#loops = loops;
    return body;
  }

  #if(): Statement {
    const branches: [Expression, Block][] = [];
    let otherwise: Block = [];
    for (;;) {
      const test = this.#tuple({ condition: false });
      this.#blockEnd();
      branches.push([test, this.#block(["elif", "else", "endif"])]);
      const word = this.#name();
      if (word === "elif") continue;
      if (word === "else") otherwise = this.#body("endif");
      return { kind: "if", branches, otherwise };
    }
  }

  #for(): Statement {
    const target = this.#target({ until: ["in"] });
    if (!this.#word("in")) this.#fail(`expected "in" and found ${this.#shown()}`);
    const iterable = this.#tuple({ condition: false, until: ["recursive"] });
    const test = this.#word("if") ? this.#expression() : undefined;
    const recursive = this.#word("recursive");
    this.#blockEnd();
    this.#loops++;
    const body = this.#block(["else", "endfor"]);
    this.#loops--;
    const otherwise = this.#name() === "else" ? this.#body("endfor") : [];
    return { kind: "for", target, iterable, test, recursive, body, otherwise };
  }

  #set(): Statement {
    const target = this.#target({ namespace: true });
    if (this.#operator("=") !== undefined) return { kind: "set", target, value: this.#tuple() };
    const filter = this.#filters(undefined);
    return { kind: "set_block", target, filter, body: this.#body("endset") };
  }

  #with(): Statement {
    const bindings: [Target, Expression][] = [];
    while (this.#token.type !== "block_end") {
      if (bindings.length > 0) this.#expectOperator(",");
      const target = this.#target({});
      this.#expectOperator("=");
      bindings.push([target, this.#expression()]);
    }
    return { kind: "with", bindings, body: this.#body("endwith") };
  }

  #parameters(): Parameter[] {
    const parameters: Parameter[] = [];
    this.#expectOperator("(");
    while (this.#operator(")") === undefined) {
      if (parameters.length > 0) this.#expectOperator(",");
      const name = this.#name();
      const fallback = this.#operator("=") === undefined ? undefined : this.#expression();
      if (fallback === undefined && parameters.at(-1)?.fallback !== undefined) {
        this.#fail("a parameter without a default follows one with a default");
      }
      parameters.push({ name, fallback });
    }
    return parameters;
  }

  #target({ until = [], namespace = false }: { until?: readonly string[]; namespace?: boolean }): Target {
    if (namespace && this.#tokens[this.#at + 1]?.value === "." && this.#tokens[this.#at + 1]?.type === "operator") {
      const name = this.#name();
      this.#at++;
      return { kind: "namespace", name, attribute: this.#name() };
    }
    const targets: Target[] = [];
    let tuple = false;
    for (;;) {
      if (this.#isWord(...until) || this.#isOperator("=") || this.#isOperator(")")) {
        // `in` may be a variable's name, too: `for in in in`
        if (targets.length > 0) break;
      }
      if (this.#operator("(") !== undefined) {
        targets.push(this.#deeper(() => this.#target({})));
        this.#expectOperator(")");
      } else targets.push({ kind: "name", name: this.#name() });
      if (this.#operator(",") === undefined) break;
      tuple = true;
    }
    return tuple ? { kind: "unpack", targets } : targets[0]!;
  }

  // expressions

  #tuple({
    condition = true,
    until = [],
    parentheses = false,
  }: { condition?: boolean; until?: readonly string[]; parentheses?: boolean } = {}): Expression {
    const items: Expression[] = [];
    let tuple = false;
    for (;;) {
      if (items.length > 0) {
        if (this.#operator(",") === undefined) break;
        tuple = true;
      }
      const { type } = this.#token;
      if (type === "variable_end" || type === "block_end" || this.#isOperator(")") || this.#isWord(...until)) break;
      items.push(condition ? this.#expression() : this.#deeper(() => this.#or()));
    }
    if (!tuple && items.length > 0) return items[0]!;
    if (!tuple && !parentheses) this.#fail(`expected an expression and found ${this.#shown()}`);
    return { kind: "tuple", items };
  }

  #expression(): Expression {
    return this.#deeper(() => {
      let yes = this.#or();
      while (this.#word("if")) {
        const test = this.#or();
        const no = this.#word("else") ? this.#expression() : undefined;
        yes = { kind: "condition", test, yes, no };
      }
      return yes;
    });
  }

  #or(): Expression {
    let left = this.#and();
    while (this.#word("or")) left = { kind: "or", left, right: this.#and() };
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.#word("and")) left = { kind: "and", left, right: this.#not() };
    return left;
  }

  #not(): Expression {
    if (!this.#word("not")) return this.#compare();
    return { kind: "not", operand: this.#deeper(() => this.#not()) };
  }

  #compare(): Expression {
    const first = this.#sum();
    const rest: [CompareOperator, Expression][] = [];
    for (;;) {
      const operator = this.#operator(...COMPARE) as CompareOperator | undefined;
      if (operator !== undefined) rest.push([operator, this.#sum()]);
      else if (this.#word("in")) rest.push(["in", this.#sum()]);
      else if (
        this.#isWord("not") &&
        this.#tokens[this.#at + 1]?.type === "name" &&
        this.#tokens[this.#at + 1]!.value === "in"
      ) {
        this.#at += 2;
        rest.push(["not in", this.#sum()]);
      } else return rest.length === 0 ? first : { kind: "compare", first, rest };
    }
  }

  #binary(operators: readonly BinaryOperator[], operand: () => Expression): Expression {
    let left = operand();
    for (;;) {
      const operator = this.#operator(...operators) as BinaryOperator | undefined;
      if (operator === undefined) return left;
      left = { kind: "binary", operator, left, right: operand() };
    }
  }

  #sum(): Expression {
    return this.#binary(["+", "-"], () => this.#concat());
  }

  #concat(): Expression {
    const parts = [this.#product()];
    while (this.#operator("~") !== undefined) parts.push(this.#product());
    return parts.length === 1 ? parts[0]! : { kind: "concat", parts };
  }

  #product(): Expression {
    return this.#binary(["*", "/", "//", "%"], () => this.#binary(["**"], () => this.#unary(true)));
  }

  #unary(filters: boolean): Expression {
    let node: Expression;
    if (this.#operator("-") !== undefined) {
      node = { kind: "negative", operand: this.#deeper(() => this.#unary(false)) };
    } else if (this.#operator("+") !== undefined) {
      node = { kind: "positive", operand: this.#deeper(() => this.#unary(false)) };
    } else node = this.#primary();
    node = this.#postfix(node);
    return filters ? this.#filterExpression(node) : node;
  }

  #primary(): Expression {
    const { type, value, line } = this.#token;
    this.#at++;
    switch (type) {
      case "name":
        if (value === "true" || value === "True") return { kind: "constant", value: true };
        if (value === "false" || value === "False") return { kind: "constant", value: false };
        if (value === "none" || value === "None") return { kind: "constant", value: null };
        return { kind: "name", name: value };
      case "string": {
        const parts = [value];
        while (this.#token.type === "string") parts.push(this.#tokens[this.#at++]!.value);
        return { kind: "constant", value: parts.join("") };
      }
      case "integer": {
        const number = Number(value.replaceAll("_", ""));
        if (!Number.isSafeInteger(number)) this.#fail(`the integer ${value} is too large`, line);
        return { kind: "constant", value: number };
      }
      case "float":
        return { kind: "float", value: Number(value.replaceAll("_", "")) };
      case "operator":
        if (value === "(") {
          const inner = this.#deeper(() => this.#tuple({ parentheses: true }));
          this.#expectOperator(")");
          return inner;
        }
        if (value === "[") return this.#deeper(() => this.#list());
        if (value === "{") return this.#deeper(() => this.#dict());
    }
    this.#at--;
    return this.#fail(`expected an expression and found ${this.#shown()}`, line);
  }

  #list(): Expression {
    const items: Expression[] = [];
    while (this.#operator("]") === undefined) {
      if (items.length > 0) this.#expectOperator(",");
      if (this.#operator("]") !== undefined) break;
      items.push(this.#expression());
    }
    return { kind: "list", items };
  }

  #dict(): Expression {
    const entries: [Expression, Expression][] = [];
    while (this.#operator("}") === undefined) {
      if (entries.length > 0) this.#expectOperator(",");
      if (this.#operator("}") !== undefined) break;
      const key = this.#expression();
      this.#expectOperator(":");
      entries.push([key, this.#expression()]);
    }
    return { kind: "dict", entries };
  }

  #postfix(start: Expression): Expression {
    let node = start;
    for (;;) {
      if (this.#operator(".") !== undefined) node = this.#attribute(node);
      else if (this.#operator("[") !== undefined) node = this.#subscript(node);
      else if (this.#operator("(") !== undefined) node = { kind: "call", callee: node, args: this.#arguments() };
      else return node;
    }
  }

  #attribute(object: Expression): Expression {
    const { type, value } = this.#token;
    this.#at++;
    if (type === "name") return { kind: "attribute", object, name: value };
    if (type === "integer") return { kind: "item", object, key: { kind: "constant", value: Number(value) } };
    this.#at--;
    return this.#fail(`expected a name or a number behind "." and found ${this.#shown()}`);
  }

  #subscript(object: Expression): Expression {
    const part = (): Expression | undefined =>
      this.#isOperator(":") || this.#isOperator("]") ? undefined : this.#expression();
    const start = part();
    if (this.#operator(":") === undefined) {
      if (start === undefined) this.#fail("expected an index");
      this.#expectOperator("]");
      return { kind: "item", object, key: start };
    }
    const stop = part();
    const step = this.#operator(":") === undefined ? undefined : part();
    this.#expectOperator("]");
    return { kind: "slice", object, start, stop, step };
  }

  /** After the opening parenthesis, through the closing one. */
  #arguments(): Arguments {
    const positional: Expression[] = [];
    const named: [string, Expression][] = [];
    let rest: Expression | undefined;
    let namedRest: Expression | undefined;
    let first = true;
    while (this.#operator(")") === undefined) {
      if (!first) {
        this.#expectOperator(",");
        if (this.#operator(")") !== undefined) break;
      }
      first = false;
      const next = this.#tokens[this.#at + 1];
      if (this.#operator("*") !== undefined) rest = this.#expression();
      else if (this.#operator("**") !== undefined) namedRest = this.#expression();
      else if (this.#token.type === "name" && next?.type === "operator" && next.value === "=") {
        const name = this.#name();
        this.#at++;
        named.push([name, this.#expression()]);
      } else {
        if (named.length > 0 || rest !== undefined || namedRest !== undefined) {
          this.#fail("a positional argument follows a named one");
        }
        positional.push(this.#expression());
      }
    }
    return { positional, named, rest, namedRest };
  }

  #filterExpression(start: Expression): Expression {
    let node = start;
    for (;;) {
      if (this.#isOperator("|")) node = this.#filters(node)!;
      else if (this.#word("is")) node = this.#test(node);
      else if (this.#operator("(") !== undefined) node = { kind: "call", callee: node, args: this.#arguments() };
      else return node;
    }
  }

  /** `| name(…) | …`; `bare`: the first one has no bar, as in `{% filter upper %}`. */
  #filters(operand: Expression | undefined, bare = false): Expression | undefined {
    let node = operand;
    for (let first = bare; first || this.#operator("|") !== undefined; first = false) {
      const name = this.#dotted();
      node = {
        kind: "filter",
        operand: node,
        name,
        args: this.#operator("(") === undefined ? NO_ARGUMENTS : this.#arguments(),
      };
    }
    return node;
  }

  #dotted(): string {
    let name = this.#name();
    while (this.#operator(".") !== undefined) name += `.${this.#name()}`;
    return name;
  }

  #test(operand: Expression): Expression {
    const negated = this.#word("not");
    const { type, value } = this.#token;
    // `x is ==` has no meaning, but `is in`, `is none` and the like are names
    if (type !== "name") this.#fail(`expected the name of a test and found ${JSON.stringify(value)}`);
    const name = this.#dotted();
    let args = NO_ARGUMENTS;
    const begins = VALUE_TYPES.includes(this.#token.type) || this.#isOperator("[") || this.#isOperator("{");
    if (this.#operator("(") !== undefined) args = this.#arguments();
    else if (begins && !this.#isWord("else", "or", "and")) {
      if (this.#isWord("is")) this.#fail("tests cannot be chained with `is`");
      args = { ...NO_ARGUMENTS, positional: [this.#postfix(this.#primary())] };
    }
    const test: Expression = { kind: "test", operand, name, args };
    return negated ? { kind: "not", operand: test } : test;
  }
}
