// How Python prints values: `str`, `repr` and `json.dumps`.

import type { Budget } from "./budget.ts";
import {
  Callable,
  Float,
  Generator,
  Markup,
  Members,
  TemplateError,
  typeName,
  Undefined,
  type Value,
  View,
} from "./values.ts";
import { Tuple } from "./values.ts";

/** `str(value)` */
export function str(value: Value, budget: Budget): string {
  if (typeof value === "string") return value;
  if (value instanceof Markup) return value.text;
  if (value instanceof Undefined) return "";
  return repr(value, budget);
}

/** `repr(value)` */
export function repr(value: Value, budget: Budget): string {
  const out = new Pieces(budget);
  write(value, out);
  return out.text();
}

/** A text in the making: every piece is paid for, so that a small structure that prints large is stopped on the way. */
class Pieces {
  readonly budget: Budget;
  readonly #parts: string[] = [];
  #length = 0;
  constructor(budget: Budget) {
    this.budget = budget;
  }
  put(text: string): void {
    this.budget.step(1 + text.length / 32);
    this.#length += text.length;
    if (this.#length > this.budget.limits.stringLength) this.budget.text(this.#length);
    this.#parts.push(text);
  }
  text(): string {
    this.budget.text(this.#length);
    return this.#parts.join("");
  }
}

function write(value: Value, out: Pieces): void {
  const { budget } = out;
  const put = (text: string): void => out.put(text);
  if (value === null) return put("None");
  if (typeof value === "boolean") return put(value ? "True" : "False");
  if (typeof value === "number") return put(String(value));
  if (typeof value === "string") return put(quote(value));
  if (value instanceof Float) return put(floatText(value.value));
  if (value instanceof Undefined) return put("Undefined");
  if (value instanceof Markup) return put(`Markup(${quote(value.text)})`);
  if (value instanceof Generator) return put("<generator object>");
  if (value instanceof Callable) return put(`<function ${value.name}>`);
  if (value instanceof Members && value.shown === undefined) return put(`<${value.label}>`);
  budget.enter();
  if (value instanceof Members) {
    put(`<${value.label} `);
    write(value.shown!(), out);
    put(">");
    return budget.leave();
  }
  if (value instanceof Map) {
    put("{");
    let first = true;
    for (const [key, item] of value) {
      if (!first) put(", ");
      first = false;
      write(key, out);
      put(": ");
      write(item, out);
    }
    put("}");
  } else {
    const tuple = value instanceof Tuple;
    const [before, after] = value instanceof View ? value.label.split("…") : tuple ? ["(", ")"] : ["[", "]"];
    put(before!);
    if (after !== undefined) {
      value.forEach((item, i) => {
        if (i > 0) put(", ");
        write(item, out);
      });
      if (tuple && value.length === 1) put(",");
      put(after);
    }
  }
  budget.leave();
}

/** Python's `repr` of a float. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Object.is(value, -0)) return "-0.0";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    const [digits, exponent] = value.toExponential().split("e") as [string, string];
    return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
  }
  const text = String(value);
  return text.includes(".") ? text : `${text}.0`;
}

const SPECIAL = /[\\'"\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;
const NAMED: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Python's `repr` of a string. */
function quote(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replace(SPECIAL, (char) => {
    if (char === "'" || char === '"') return char === mark ? `\\${char}` : char;
    const code = char.codePointAt(0)!;
    const hex = (letter: string, width: number): string => `\\${letter}${code.toString(16).padStart(width, "0")}`;
    return NAMED[char] ?? (code < 0x100 ? hex("x", 2) : code < 0x10000 ? hex("u", 4) : hex("U", 8));
  });
  return mark + escaped + mark;
}

export interface JsonStyle {
  readonly ensureAscii: boolean;
  /** text of one level of indentation; undefined: all on one line */
  readonly indent: string | undefined;
  readonly itemSeparator: string;
  readonly keySeparator: string;
  readonly sortKeys: boolean;
}

/** `json.dumps(value)` as transformers calls it for `tojson`. */
export function json(value: Value, style: JsonStyle, budget: Budget): string {
  const out = new Pieces(budget);
  const put = (text: string): void => out.put(text);
  const line = (level: number): void => {
    if (style.indent !== undefined) put(`\n${style.indent.repeat(level)}`);
  };
  const visit = (item: Value, level: number): void => {
    if (item === null) put("null");
    else if (typeof item === "boolean") put(String(item));
    else if (typeof item === "number") put(String(item));
    else if (item instanceof Float) put(jsonFloat(item.value));
    else if (typeof item === "string") put(jsonString(item, style.ensureAscii));
    else if (item instanceof Markup) put(jsonString(item.text, style.ensureAscii));
    else if (Array.isArray(item) && !(item instanceof View)) {
      if (item.length === 0) return put("[]");
      budget.enter();
      put("[");
      item.forEach((entry, i) => {
        if (i > 0) put(style.itemSeparator);
        line(level + 1);
        visit(entry, level + 1);
      });
      line(level);
      put("]");
      budget.leave();
    } else if (item instanceof Map) {
      if (item.size === 0) return put("{}");
      budget.enter();
      put("{");
      const keys = [...item.keys()];
      budget.items(keys.length);
      if (style.sortKeys) keys.sort((a, b) => (a! < b! ? -1 : a! > b! ? 1 : 0));
      keys.forEach((key, i) => {
        if (i > 0) put(style.itemSeparator);
        line(level + 1);
        const text = typeof key === "string" ? key : key === null ? "null" : String(key);
        put(jsonString(text, style.ensureAscii) + style.keySeparator);
        visit(item.get(key)!, level + 1);
      });
      line(level);
      put("}");
      budget.leave();
    } else throw new TemplateError(`Object of type ${typeName(item)} is not JSON serializable`);
  };
  visit(value, 0);
  return out.text();
}

function jsonFloat(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "Infinity" : "-Infinity";
  return floatText(value);
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\b": "\\b",
  "\f": "\\f",
};

function jsonString(text: string, ensureAscii: boolean): string {
  // oxlint-disable-next-line no-control-regex -- JSON escapes exactly these
  const special = ensureAscii ? /["\\\x00-\x1f\x7f-\uffff]/g : /["\\\x00-\x1f]/g;
  const escaped = text.replace(
    special,
    (char) => ESCAPES[char] ?? (char === "\x7f" ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`),
  );
  return `"${escaped}"`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "'": "&#39;",
  '"': "&#34;",
};

/** markupsafe's `escape` of a plain string. */
export function escapeHtml(text: string, budget: Budget): string {
  budget.scan(text.length);
  const escaped = text.replace(/[&<>'"]/g, (char) => ENTITIES[char]!);
  budget.text(escaped.length);
  return escaped;
}
