// Python's two ways to fill a pattern: `"%s" % value` and `"{}".format(value)`.

import type { Budget } from "./budget.ts";
import { floatText, repr, str } from "./print.ts";
import { firstPoints, pad } from "./text.ts";
import { type CallArguments, Float, numberOf, TemplateError, Tuple, Undefined, type Value } from "./values.ts";

const WIDEST = 1 << 16;

function widthOf(digits: string | undefined): number {
  const width = Number(digits ?? 0);
  if (width > WIDEST) throw new TemplateError(`a width of ${digits} is too large`);
  return width;
}

/** `pattern % value` */
export function percentFormat(pattern: string, value: Value, budget: Budget): string {
  const args = value instanceof Tuple ? [...value] : [value];
  const dict = value instanceof Map ? value : undefined;
  let next = 0;
  budget.scan(pattern.length);
  const parts: string[] = [];
  let from = 0;
  const rule = /%(?:\(([^)]*)\))?([-+ #0]*)(\d*)(?:\.(\d*))?([a-zA-Z%])/g;
  for (const match of pattern.matchAll(rule)) {
    parts.push(pattern.slice(from, match.index));
    from = match.index + match[0].length;
    const [, name, flags = "", width, precision, kind] = match;
    if (kind === "%") {
      parts.push("%");
      continue;
    }
    if (name === undefined && next >= args.length) throw new TemplateError("not enough arguments for format string");
    const item = name === undefined ? args[next++]! : dict?.get(name);
    if (item === undefined) throw new TemplateError(`'%' has no value for ${JSON.stringify(name)}`);
    let text = percentItem(kind!, item, precision === undefined ? undefined : widthOf(precision), budget);
    if ((flags.includes("+") || flags.includes(" ")) && numberOf(item) !== undefined && !text.startsWith("-")) {
      text = (flags.includes("+") ? "+" : " ") + text;
    }
    const columns = widthOf(width);
    const zeros = flags.includes("0") && !flags.includes("-") && kind !== "s" && kind !== "r";
    parts.push(
      zeros ? zeroPad(text, columns, budget) : pad(text, columns, " ", flags.includes("-") ? "right" : "left", budget),
    );
  }
  // what has elements of its own may be left over, as in Python
  const spare = dict !== undefined || value instanceof Undefined || (Array.isArray(value) && !(value instanceof Tuple));
  if (!spare && next < args.length) throw new TemplateError("not all arguments converted during string formatting");
  parts.push(pattern.slice(from));
  const out = parts.join("");
  budget.text(out.length);
  return out;
}

function percentItem(kind: string, item: Value, precision: number | undefined, budget: Budget): string {
  if (kind === "s" || kind === "r") {
    const text = kind === "s" ? str(item, budget) : repr(item, budget);
    return precision === undefined ? text : firstPoints(text, precision, budget);
  }
  const number = numberOf(item);
  if (number === undefined) throw new TemplateError(`%${kind} format: a number is required`);
  return numberText(kind, number, precision);
}

function numberText(kind: string, number: number, precision: number | undefined): string {
  switch (kind) {
    case "d":
    case "i":
    case "u":
      return String(Math.trunc(number));
    case "x":
      return Math.trunc(number).toString(16);
    case "X":
      return Math.trunc(number).toString(16).toUpperCase();
    case "o":
      return Math.trunc(number).toString(8);
    case "b":
      return Math.trunc(number).toString(2);
    case "f":
    case "F":
      return number.toFixed(Math.min(100, precision ?? 6));
    case "e":
      return number.toExponential(Math.min(100, precision ?? 6)).replace(/e([+-])(\d)$/, "e$10$2");
    default:
      throw new TemplateError(`the format '${kind}' is not supported`);
  }
}

/** Zeros go between the sign and the digits. */
export function zeroPad(text: string, width: number, budget: Budget): string {
  const sign = /^[-+]/.test(text) ? text[0]! : "";
  return sign + pad(text.slice(sign.length), width - sign.length, "0", "left", budget);
}

/** `pattern.format(…)` with `{}`, `{0}`, `{name}`, `{x!r}` and the usual width, alignment and number formats. */
export function braceFormat(pattern: string, args: CallArguments, budget: Budget): string {
  budget.scan(pattern.length);
  const parts: string[] = [];
  let next = 0;
  let from = 0;
  for (const match of pattern.matchAll(/\{\{|\}\}|\{([^{}]*)\}|[{}]/g)) {
    parts.push(pattern.slice(from, match.index));
    from = match.index + match[0].length;
    const field = match[1];
    if (field === undefined) {
      if (match[0].length === 1) throw new TemplateError(`Single '${match[0]}' encountered in format string`);
      parts.push(match[0][0]!);
      continue;
    }
    const [, name = "", conversion, , spec = ""] = /^([^!:]*)(?:!([rsa]))?(:(.*))?$/s.exec(field) ?? [];
    const value =
      name === "" ? args.positional[next++] : /^\d+$/.test(name) ? args.positional[Number(name)] : args.named.get(name);
    if (value === undefined) throw new TemplateError(`format: no value for the field {${field}}`);
    parts.push(
      formatted(
        conversion === undefined ? value : conversion === "s" ? str(value, budget) : repr(value, budget),
        spec,
        budget,
      ),
    );
  }
  parts.push(pattern.slice(from));
  const out = parts.join("");
  budget.text(out.length);
  return out;
}

function formatted(value: Value, spec: string, budget: Budget): string {
  if (spec === "") return str(value, budget);
  const rule = /^(?:(.)?([<>^]))?([+ -]?)(0?)(\d*)(,?)(?:\.(\d+))?([a-zA-Z%]?)$/su.exec(spec);
  if (rule === null) throw new TemplateError(`Invalid format specifier '${spec}'`);
  const [, fill, align, sign, zero, width, comma, precision, kind] = rule;
  const number = numberOf(value);
  const digits = precision === undefined ? undefined : widthOf(precision);
  let text: string;
  if (number === undefined || typeof value === "boolean") {
    text = str(value, budget);
    if (digits !== undefined) text = firstPoints(text, digits, budget);
  } else if (kind === "%") text = `${(number * 100).toFixed(Math.min(100, digits ?? 6))}%`;
  else if (kind !== "") text = numberText(kind!, number, digits);
  else
    text =
      value instanceof Float
        ? digits === undefined
          ? floatText(number)
          : String(Number(number.toPrecision(digits)))
        : String(number);
  if (comma !== "") text = text.replace(/^([+-]?\d+)/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));
  if (number !== undefined && sign !== "" && sign !== "-" && !text.startsWith("-")) text = sign + text;
  const columns = widthOf(width);
  if (zero !== "" && align === undefined) return zeroPad(text, columns, budget);
  const side =
    align === "^" ? "center" : align === "<" || (align === undefined && number === undefined) ? "right" : "left";
  return pad(text, columns, fill ?? (zero === "" ? " " : "0"), side, budget);
}
