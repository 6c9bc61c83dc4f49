// Filters of numbers and of any value (jinja2/filters.py), with `tojson` as transformers defines it.

import { type Bound, needInteger, needText } from "../arguments.ts";
import { attribute } from "../attributes.ts";
import { json } from "../print.ts";
import * as py from "../text.ts";
import { Float, iterate, numberOf, TemplateError, textOf, truth, typeName, Undefined, type Value } from "../values.ts";
import { type Filter, filter } from "./filter.ts";

function toInteger(value: Value, args: Bound): Value {
  const fallback = args["default"] ?? 0;
  if (value instanceof Undefined) value.fail();
  const text = textOf(value);
  if (text === undefined) {
    const number = numberOf(value);
    return number === undefined || !Number.isFinite(number) ? fallback : Math.trunc(number);
  }
  const clean = py.strip(text, "strip");
  const base = needInteger("base", args["base"], 10);
  if (/^[-+]?\d+(_\d+)*$/.test(clean) && base === 10) return safe(Number(clean.replaceAll("_", "")), fallback);
  if (base !== 10) {
    const digits = clean.replace(/^([-+]?)0[xXoObB]/, "$1").toLowerCase();
    const number = parseInt(digits, base);
    return /^[-+]?[\da-z]+$/.test(digits) && !Number.isNaN(number) ? safe(number, fallback) : fallback;
  }
  const float = floatOf(clean);
  return float === undefined || !Number.isFinite(float) ? fallback : safe(Math.trunc(float), fallback);
}

function safe(number: number, fallback: Value): Value {
  return Number.isSafeInteger(number) ? number : fallback;
}

function floatOf(text: string): number | undefined {
  if (/^[-+]?(\d+(_\d+)*\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(text)) return Number(text.replaceAll("_", ""));
  const special = /^([-+]?)(inf|infinity|nan)$/i.exec(text);
  if (special === null) return undefined;
  return special[2]!.toLowerCase() === "nan" ? NaN : special[1] === "-" ? -Infinity : Infinity;
}

const round: Filter = filter("precision method", (value, args) => {
  const number = numberOf(value);
  if (number === undefined) throw new TemplateError(`round needs a number, not ${typeName(value)}`);
  const precision = needInteger("precision", args["precision"], 0);
  const method = args["method"] ?? "common";
  if (method !== "common" && method !== "ceil" && method !== "floor") {
    throw new TemplateError("method must be common, ceil or floor");
  }
  const scale = 10 ** precision;
  if (method === "common") return value instanceof Float ? new Float(roundHalfEven(number, precision)) : number;
  return new Float(Math[method](number * scale) / scale);
});

/** Python's `round`: correctly rounded from the exact binary value, ties to even. */
function roundHalfEven(value: number, precision: number): number {
  if (precision <= 0 || precision > 100) {
    const scale = 10 ** -precision;
    const scaled = value / scale;
    const floor = Math.floor(scaled);
    const rest = scaled - floor;
    return (rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor) * scale;
  }
  // toFixed works on the exact value, but takes ties away from zero
  const digits = Math.abs(value).toFixed(Math.min(100, precision + 25));
  const tie = digits.endsWith(`5${"0".repeat(24)}`) && precision <= 75;
  if (!tie || Number(digits.at(-26)) % 2 === 1) return Number(value.toFixed(precision));
  return Math.sign(value) * Number(digits.slice(0, -25));
}

const tojson: Filter = filter("ensure_ascii indent separators sort_keys", (value, args, { budget }) => {
  const width = args["indent"] ?? null;
  const indent =
    width === null
      ? undefined
      : typeof width === "string"
        ? width
        : " ".repeat(Math.min(1 << 10, Math.max(0, needInteger("indent", width))));
  const separators = args["separators"] ?? null;
  const pair = separators === null ? undefined : iterate(separators, budget).map((one) => needText("a separator", one));
  if (pair !== undefined && pair.length !== 2) throw new TemplateError("separators must be a pair");
  return json(
    value,
    {
      ensureAscii: truth(args["ensure_ascii"] ?? false),
      indent,
      itemSeparator: pair?.[0] ?? (indent === undefined ? ", " : ","),
      keySeparator: pair?.[1] ?? ": ",
      sortKeys: truth(args["sort_keys"] ?? false),
    },
    budget,
  );
});

const fallback: Filter = filter("default_value boolean", (value, args) =>
  value instanceof Undefined || (truth(args["boolean"] ?? false) && !truth(value))
    ? (args["default_value"] ?? "")
    : value,
);

/** By name. */
export const SCALARS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  [
    "abs",
    filter("", (value) => {
      if (value instanceof Float) return new Float(Math.abs(value.value));
      const number = numberOf(value);
      if (number === undefined) throw new TemplateError(`bad operand type for abs(): '${typeName(value)}'`);
      return Math.abs(number);
    }),
  ],
  [
    "attr",
    filter("name", (value, args, { budget }) =>
      value instanceof Map && !["get", "items", "keys", "values", "copy"].includes(needText("name", args["name"]))
        ? new Undefined(`'dict object' has no attribute '${needText("name", args["name"])}'`)
        : attribute(value, needText("name", args["name"]), budget),
    ),
  ],
  ["d", fallback],
  ["default", fallback],
  [
    "float",
    filter("default", (value, args) => {
      if (value instanceof Undefined) value.fail();
      const text = textOf(value);
      const number = text === undefined ? numberOf(value) : floatOf(py.strip(text, "strip"));
      return number === undefined ? (args["default"] ?? new Float(0)) : new Float(number);
    }),
  ],
  ["int", filter("default base", toInteger)],
  ["round", round],
  ["tojson", tojson],
]);
