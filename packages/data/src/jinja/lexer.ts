// Jinja source to tokens, as jinja2 cuts it with trim_blocks and lstrip_blocks on (jinja2/lexer.py). No regular expression
// here can look at a character more often than once per token, so the time is linear in the source.

/** A mistake in the source. */
export class TemplateSyntaxError extends Error {
  readonly line: number;
  constructor(message: string, line: number) {
    super(`line ${line}: ${message}`);
    this.line = line;
  }
}

export type TokenType =
  | "text"
  | "block_begin"
  | "block_end"
  | "variable_begin"
  | "variable_end"
  | "end"
  | "name"
  | "string"
  | "integer"
  | "float"
  | "operator";

export interface Token {
  readonly type: TokenType;
  /** a string's content, a number's digits, an operator's signs */
  readonly value: string;
  readonly line: number;
}

const SPACE = /[\s\x1c-\x1f\x85]*/y;
const NAME = /[\p{L}_\p{Nl}][\p{L}\p{Nl}\p{Mn}\p{Mc}\p{Nd}\p{Pc}]*/uy;
const FLOAT = /(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?[eE][+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/y;
const INTEGER = /0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*/y;
const OPERATORS = ["//", "**", "==", "!=", ">=", "<="].concat([..."+-/*%~[](){}><=.:|,;"]);
const OPENING: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/** @throws TemplateSyntaxError */
export function tokenize(template: string): Token[] {
  let source = template.replace(/\r\n?/g, "\n"); // as jinja2 reads templates
  if (source.endsWith("\n")) source = source.slice(0, -1); // keep_trailing_newline is off
  return new Lexer(source).run();
}

class Lexer {
  readonly #source: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #line = 1;
  /** the text before a tag begins a line */
  #lineStarting = true;

  constructor(source: string) {
    this.#source = source;
  }

  run(): Token[] {
    while (this.#at < this.#source.length) {
      const open = this.#nextOpening();
      if (open === -1) {
        this.#text(this.#source.slice(this.#at));
        this.#at = this.#source.length;
        break;
      }
      this.#tag(open);
    }
    this.#push("end", "");
    return this.#tokens;
  }

  #nextOpening(): number {
    for (let at = this.#source.indexOf("{", this.#at); at !== -1; at = this.#source.indexOf("{", at + 1)) {
      if ("%{#".includes(this.#source[at + 1] ?? " ")) return at;
    }
    return -1;
  }

  #tag(open: number): void {
    const kind = this.#source[open + 1]!;
    const sign = this.#source[open + 2];
    const signed = sign === "-" || sign === "+";
    let text = this.#source.slice(this.#at, open);
    if (sign === "-") text = text.trimEnd();
    else if (sign !== "+" && kind !== "{") {
      const lineStart = text.lastIndexOf("\n") + 1;
      if ((lineStart > 0 || this.#lineStarting) && /^\s+$/.test(text.slice(lineStart))) text = text.slice(0, lineStart);
    }
    this.#text(text);
    this.#line += countLines(this.#source, this.#at + text.length, open);
    this.#at = open + 2 + (signed ? 1 : 0);
    if (kind === "#") this.#comment();
    else if (kind === "{") {
      this.#push("variable_begin", "");
      this.#inside("}}", "variable_end");
    } else if (!this.#raw()) {
      this.#push("block_begin", "");
      this.#inside("%}", "block_end");
    }
  }

  #comment(): void {
    const close = this.#source.indexOf("#}", this.#at);
    if (close === -1) throw new TemplateSyntaxError("a comment never ends", this.#line);
    const sign = close > this.#at ? this.#source[close - 1] : undefined;
    this.#line += countLines(this.#source, this.#at, close);
    this.#at = close + 2;
    this.#afterBlock(sign);
  }

  /** White space behind `%}` or `#}`; `-` takes all of it, `+` none, else one line break goes. */
  #afterBlock(sign: string | undefined): void {
    const from = this.#at;
    if (sign === "-") this.#skipSpace();
    else if (sign !== "+" && this.#source[this.#at] === "\n") this.#at++;
    this.#line += countLines(this.#source, from, this.#at);
    this.#lineStarting = this.#source[this.#at - 1] === "\n";
  }

  /** `{% raw %}` … `{% endraw %}` */
  #raw(): boolean {
    const begin = /\s*raw\s*(-?)%\}/y;
    begin.lastIndex = this.#at;
    const opened = begin.exec(this.#source);
    if (opened === null) return false;
    let from = this.#at + opened[0].length;
    if (opened[1] === "-") from += /^\s*/.exec(this.#source.slice(from))![0].length;
    const end = /\{%([-+]?)\s*endraw\s*([-+]?)%\}/g;
    end.lastIndex = from;
    const closed = end.exec(this.#source);
    if (closed === null) throw new TemplateSyntaxError("a raw block never ends", this.#line);
    let text = this.#source.slice(from, closed.index);
    if (closed[1] === "-") text = text.trimEnd();
    else if (closed[1] === "") {
      const lineStart = text.lastIndexOf("\n") + 1;
      if (lineStart > 0 && /^\s+$/.test(text.slice(lineStart))) text = text.slice(0, lineStart);
    }
    this.#line += countLines(this.#source, this.#at, from);
    this.#text(text);
    this.#line += countLines(this.#source, from + text.length, closed.index);
    this.#at = closed.index + closed[0].length;
    this.#afterBlock(closed[2]);
    return true;
  }

  /** The tokens up to `close`, which counts only outside brackets. */
  #inside(close: "}}" | "%}", type: "variable_end" | "block_end"): void {
    const brackets: string[] = [];
    for (;;) {
      const from = this.#at;
      this.#skipSpace();
      this.#line += countLines(this.#source, from, this.#at);
      const at = this.#at;
      const char = this.#source[at];
      if (char === undefined) throw new TemplateSyntaxError(`a tag never ends, expected "${close}"`, this.#line);
      const signed = char === "-" || (char === "+" && close === "%}");
      if (brackets.length === 0 && this.#source.startsWith(close, at + (signed ? 1 : 0))) {
        this.#push(type, "");
        this.#at = at + 2 + (signed ? 1 : 0);
        if (close === "%}") this.#afterBlock(signed ? char : undefined);
        else {
          if (signed) {
            this.#skipSpace();
            this.#line += countLines(this.#source, at, this.#at);
          }
          this.#lineStarting = this.#source[this.#at - 1] === "\n";
        }
        return;
      }
      if (char === "'" || char === '"') this.#string(char);
      else if (!this.#matched("name", NAME) && !this.#number()) this.#operator(brackets);
    }
  }

  #number(): boolean {
    // `x.0.1` is two indices, not a float
    if (this.#source[this.#at - 1] !== "." && this.#matched("float", FLOAT)) return true;
    return this.#matched("integer", INTEGER);
  }

  #matched(type: TokenType, pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#source);
    if (found === null) return false;
    this.#push(type, found[0]);
    this.#at += found[0].length;
    return true;
  }

  #operator(brackets: string[]): void {
    const operator = OPERATORS.find((candidate) => this.#source.startsWith(candidate, this.#at));
    if (operator === undefined) {
      throw new TemplateSyntaxError(`unexpected character ${JSON.stringify(this.#source[this.#at])}`, this.#line);
    }
    if (Object.hasOwn(OPENING, operator)) brackets.push(OPENING[operator]!);
    else if (")]}".includes(operator)) {
      const expected = brackets.pop();
      if (expected !== operator) throw new TemplateSyntaxError(`unexpected "${operator}"`, this.#line);
    }
    this.#push("operator", operator);
    this.#at += operator.length;
  }

  #string(quote: string): void {
    let at = this.#at + 1;
    while (at < this.#source.length && this.#source[at] !== quote) at += this.#source[at] === "\\" ? 2 : 1;
    if (at >= this.#source.length) throw new TemplateSyntaxError("a string never ends", this.#line);
    const raw = this.#source.slice(this.#at + 1, at);
    this.#push("string", unescape(raw));
    this.#line += countLines(this.#source, this.#at, at);
    this.#at = at + 1;
  }

  #text(text: string): void {
    if (text === "") return;
    this.#push("text", text);
    this.#line += countLines(text, 0, text.length);
  }

  #skipSpace(): void {
    SPACE.lastIndex = this.#at;
    SPACE.exec(this.#source);
    this.#at = SPACE.lastIndex;
  }

  #push(type: TokenType, value: string): void {
    this.#tokens.push({ type, value, line: this.#line });
  }
}

function countLines(text: string, from: number, to: number): number {
  let count = 0;
  for (let at = text.indexOf("\n", from); at !== -1 && at < to; at = text.indexOf("\n", at + 1)) count++;
  return count;
}

const SIMPLE: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** Python's `unicode-escape`; an unknown escape keeps its backslash. */
function unescape(raw: string): string {
  if (!raw.includes("\\")) return raw;
  return raw.replace(
    /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|([\s\S]))/g,
    (whole, x?: string, u?: string, big?: string, octal?: string, other?: string) => {
      const hex = x ?? u ?? big;
      const code = hex === undefined ? (octal === undefined ? undefined : parseInt(octal, 8)) : parseInt(hex, 16);
      if (code !== undefined) return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
      return SIMPLE[other!] ?? whole;
    },
  );
}
