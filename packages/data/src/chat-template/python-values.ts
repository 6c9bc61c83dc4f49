// Values of a running template and what Python would make of them.

import { Environment } from "@huggingface/jinja";

/** A value at run time: `value` is a string, number, boolean, null, undefined, array, Map or function. */
export interface Value {
  readonly type: string;
  readonly value: unknown;
  toString(): string;
}

/** Variables of a template. */
export interface Scope {
  set(name: string, value: unknown): Value;
}

/** The library exports no value classes; they are found on values it made. */
export function valueOf(plain: unknown): Value {
  return (new Environment() as Scope).set("value", plain);
}

/** Python's white space; JavaScript's own also has U+FEFF and lacks U+001C … U+001F and U+0085. */
const PYTHON_SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** Python's `strip`, `lstrip` and `rstrip`. Loops, because `/ +$/` takes quadratic time on a text full of spaces. */
export function strip(text: string, side: "strip" | "lstrip" | "rstrip", chars: string | undefined): string {
  const points = [...text];
  const goes = (point: string): boolean => (chars === undefined ? PYTHON_SPACE.test(point) : chars.includes(point));
  let [start, end] = [0, points.length];
  if (side !== "rstrip") while (start < end && goes(points[start]!)) start++;
  if (side !== "lstrip") while (end > start && goes(points[end - 1]!)) end--;
  return points.slice(start, end).join("");
}

/** Python's `str(value)` and, nested, `repr(value)`. */
export function pythonString(value: Value, nested = false): string {
  switch (value.type) {
    case "NullValue":
      return "None";
    case "BooleanValue":
      return value.value === true ? "True" : "False";
    case "UndefinedValue":
      return nested ? "Undefined" : "";
    case "StringValue":
      return nested ? quoted(value.value as string) : (value.value as string);
    case "ArrayValue":
      return `[${(value.value as Value[]).map((item) => pythonString(item, true)).join(", ")}]`;
    case "ObjectValue":
      return `{${[...(value.value as Map<string, Value>)].map(([key, item]) => `${quoted(key)}: ${pythonString(item, true)}`).join(", ")}}`;
    default:
      return value.toString();
  }
}

/** Python's `repr` of a string of printable characters and the usual escapes. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escapes: Record<string, string> = {
    "\\": "\\\\",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    [quote]: `\\${quote}`,
  };
  return quote + text.replace(/[\\\n\r\t'"]/g, (c) => escapes[c] ?? c) + quote;
}

export function escapeHtml(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;" };
  return text.replace(/[&<>'"]/g, (c) => entities[c]!);
}

/** Python's `==`: no coercion between types but among numbers and booleans, and by content for lists and dicts. */
export function equal(a: Value, b: Value): boolean {
  const number = (value: Value): number | undefined =>
    value.type === "IntegerValue" || value.type === "FloatValue" || value.type === "BooleanValue"
      ? Number(value.value)
      : undefined;
  if (number(a) !== undefined) return number(a) === number(b);
  if (a.type !== b.type) return false;
  if (a.type === "ArrayValue") {
    const [left, right] = [a.value as Value[], b.value as Value[]];
    return left.length === right.length && left.every((item, i) => equal(item, right[i]!));
  }
  if (a.type === "ObjectValue") {
    const [left, right] = [a.value as Map<string, Value>, b.value as Map<string, Value>];
    return left.size === right.size && [...left].every(([key, item]) => right.has(key) && equal(item, right.get(key)!));
  }
  return a.value === b.value;
}

export function capitalize(text: string): string {
  const [first = "", ...rest] = text;
  return first.toUpperCase() + rest.join("").toLowerCase();
}

export function extreme(items: readonly Value[], name: "min" | "max"): Value {
  let best = items[0];
  if (best === undefined) return valueOf(undefined);
  for (const item of items) {
    if (item.type !== best.type && (item.type === "StringValue" || best.type === "StringValue")) {
      throw new TypeError(`${name}: cannot compare ${item.type} and ${best.type}`);
    }
    const less = (item.value as number | string) < (best.value as number | string);
    const more = (item.value as number | string) > (best.value as number | string);
    if (name === "min" ? less : more) best = item;
  }
  return best;
}

/** Python's `str.format` with plain fields: `{}`, `{0}`, `{name}`, `{{` and `}}`. */
export function format(text: string, positional: readonly Value[], named: ReadonlyMap<string, Value>): string {
  let next = 0;
  return text.replace(/\{\{|\}\}|\{([^{}]*)\}/g, (whole, field: string | undefined) => {
    if (field === undefined) return whole[0]!;
    const value =
      field === "" ? positional[next++] : /^\d+$/.test(field) ? positional[Number(field)] : named.get(field);
    if (value === undefined) throw new Error(`format: no value for the field ${whole}`);
    return pythonString(value);
  });
}
